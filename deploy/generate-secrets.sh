#!/bin/sh
# Writes the secrets of compose.yaml into deploy/secrets: passwords of the NATS users, of the NATS servers among
# themselves, of the RabbitMQ users, and of Grafana's admin. What exists is kept, so that it may run again; remove a file to have a new one
# made, and restart everything. Needs nothing but sh and the usual tools.
#
# The directory is for its owner alone. The files in it can be read by everybody who gets so far: containers get single
# files without the directory, and run as users of their own.
set -eu
umask 077
dir=$(cd "$(dirname "$0")" && pwd)/secrets
mkdir -p "$dir"
chmod 700 "$dir"

# random prints 48 hexadecimal digits.
random() {
	if command -v openssl >/dev/null 2>&1; then
		openssl rand -hex 24
	else
		dd if=/dev/urandom bs=24 count=1 2>/dev/null | od -An -v -tx1 | tr -d ' \n'
		echo
	fi
}

# put writes standard input to a file that does not exist yet, in one piece.
put() {
	cat >"$dir/.new"
	[ -s "$dir/.new" ] || { echo "$0: nothing to write to $1" >&2; exit 1; }
	chmod 444 "$dir/.new"
	mv "$dir/.new" "$dir/$1"
}

for user in admin backup collector normalizer operator replay subscriber system routes; do
	[ -s "$dir/nats-$user.password" ] || random | put "nats-$user.password"
done
for user in admin openstack stackstream; do
	[ -s "$dir/rabbitmq-$user.password" ] || random | put "rabbitmq-$user.password"
done
[ -s "$dir/grafana-admin.password" ] || random | put grafana-admin.password

password() { cat "$dir/$1.password"; }

# What follows is made of the passwords.
{
	echo "# Written by generate-secrets.sh; included by nats.conf."
	for user in admin backup collector normalizer operator replay subscriber system routes; do
		echo "${user}_password: \"$(password "nats-$user")\""
	done
	echo "cluster_routes: ["
	for host in nats-1 nats-2 nats-3; do
		echo "  \"nats://routes:$(password nats-routes)@$host:6222\""
	done
	echo "]"
} | put nats-users.conf
# The users of RabbitMQ: admin for people, openstack for the services that notify, and stackstream with the least rights
# that a collector needs (docs/amqp.md). Passwords are hexadecimal: nothing in them needs escaping.
put rabbitmq-definitions.json <<EOF
{
  "vhosts": [{"name": "/"}],
  "users": [
    {"name": "admin", "password": "$(password rabbitmq-admin)", "tags": ["administrator"]},
    {"name": "openstack", "password": "$(password rabbitmq-openstack)", "tags": []},
    {"name": "stackstream", "password": "$(password rabbitmq-stackstream)", "tags": []}
  ],
  "permissions": [
    {"user": "admin", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"},
    {"user": "openstack", "vhost": "/",
     "configure": "^(?!stackstream\\\\.)", "write": "^(?!stackstream\\\\.)", "read": "^(?!stackstream\\\\.)"},
    {"user": "stackstream", "vhost": "/", "configure": "^stackstream\\\\.", "write": "^stackstream\\\\.",
     "read": "^(stackstream\\\\..*|nova|cinder|openstack|glance|neutron|keystone|heat|ironic)$"}
  ]
}
EOF
