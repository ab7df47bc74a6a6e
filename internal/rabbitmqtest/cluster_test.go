package rabbitmqtest_test

import (
	"testing"

	"stackstream/internal/rabbitmqtest"
)

func TestCluster(t *testing.T) {
	nodes := rabbitmqtest.Cluster(t, 3)
	vhost := nodes[0].VHost(t)
	p := nodes[0].Publisher(t, vhost, rabbitmqtest.As(rabbitmqtest.Quorum()), rabbitmqtest.Through(nodes[0].Addr(), nodes[1].Addr(), nodes[2].Addr()))
	publish := func() {
		t.Helper()
		if err := p.Notify(t.Context(), "nova", rabbitmqtest.Notification{}, rabbitmqtest.Notification{}); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
	publish()
	const queue = "notifications.info"
	first := rabbitmqtest.Leader(t, nodes, vhost, queue)
	second := rabbitmqtest.MoveLeader(t, nodes, vhost, queue)
	if first == second || rabbitmqtest.Leader(t, nodes, vhost, queue) != second {
		t.Errorf("the leader was %s, should be %s, is %s", first.Node(), second.Node(), rabbitmqtest.Leader(t, nodes, vhost, queue).Node())
	}
	second.Kill(t)
	third := rabbitmqtest.Leader(t, nodes, vhost, queue)
	if third == second {
		t.Errorf("a broker that is down leads: %s", third.Node())
	}
	publish()
	second.Run(t)
	for _, b := range nodes {
		b.Kill(t)
	}
	rabbitmqtest.RunAll(t, nodes...)
	rabbitmqtest.Leader(t, nodes, vhost, queue)
	publish()
	got := drain(t, channel(t, nodes[2].Dial(t, vhost)), queue)
	if len(p.Confirmed("nova")) != 6 || len(got) < 6 || len(got) > 6+p.Resent() {
		t.Errorf("%d messages of %d confirmed, %d sent twice", len(got), len(p.Confirmed("nova")), p.Resent())
	}
}
