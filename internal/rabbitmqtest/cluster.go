package rabbitmqtest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Cluster starts n brokers that are one cluster: each can be stopped, killed and paused by itself. They end with the test.
func Cluster(tb testing.TB, n int, opts ...Option) []*Broker {
	tb.Helper()
	set := apply(opts)
	set.conf = append([]string{"net_ticktime = 15"}, set.conf...)
	var nodes []*Broker
	tb.Cleanup(func() {
		for _, b := range nodes {
			b.cleanup(tb)
		}
	})
	var mapper *epmd
	for i := range n {
		b, err := prepare(set, mapper)
		if err != nil {
			tb.Fatalf("start broker %d of a cluster: %v", i, err)
		}
		b.member = true
		mapper = b.epmd
		nodes = append(nodes, b)
	}
	RunAll(tb, nodes...)
	for _, b := range nodes[1:] {
		b.Ctl(tb, "stop_app")
		b.Ctl(tb, "join_cluster", nodes[0].node)
		b.Ctl(tb, "start_app")
	}
	return nodes
}

// RunAll starts brokers at the same time, and returns when all listen. Members of a cluster that were all down have to be
// started so: one that ended before others waits for them.
func RunAll(tb testing.TB, brokers ...*Broker) {
	tb.Helper()
	errs := make([]error, len(brokers))
	var all sync.WaitGroup
	for i, b := range brokers {
		all.Go(func() { errs[i] = b.again() })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		tb.Fatalf("run brokers: %v", err)
	}
}

// Leader returns the broker among nodes that leads a queue, waiting for one: where a quorum queue has its leader, or a
// classic queue is.
func Leader(tb testing.TB, nodes []*Broker, vhost, queue string) *Broker {
	tb.Helper()
	var leader *Broker
	ask := fmt.Sprintf(`case rabbit_amqqueue:lookup(%s) of
		{ok, Queue} -> case amqqueue:get_pid(Queue) of
			{_, _} = Id -> case ra:members(Id, 5000) of {ok, _, {_, Node}} -> Node; _ -> none end;
			Pid -> node(Pid)
		end;
		_ -> none
	end`, resource(vhost, "queue", queue))
	if !poll(timeout, func() bool {
		for _, b := range nodes {
			if !b.awake() {
				continue
			}
			node := strings.Trim(b.Eval(tb, ask), "'")
			for _, l := range nodes {
				if l.node == node && l.awake() {
					leader = l
					return true
				}
			}
		}
		return false
	}) {
		tb.Fatalf("queue %s has no leader", queue)
	}
	return leader
}

// MoveLeader gives the leadership of a quorum queue to another of the brokers that run, and returns which it is.
func MoveLeader(tb testing.TB, nodes []*Broker, vhost, queue string) *Broker {
	tb.Helper()
	from := Leader(tb, nodes, vhost, queue)
	for _, to := range nodes {
		if to == from || !to.awake() {
			continue
		}
		move := fmt.Sprintf(`{ok, Queue} = rabbit_amqqueue:lookup(%s),
			{Name, _} = amqqueue:get_pid(Queue), ra:transfer_leadership({Name, %s}, {Name, %s})`,
			resource(vhost, "queue", queue), atomOf(from.node), atomOf(to.node))
		if !poll(timeout, func() bool {
			answer := from.Eval(tb, move)
			return (answer == "ok" || answer == "already_leader") && Leader(tb, nodes, vhost, queue) == to
		}) {
			tb.Fatalf("the leader of queue %s does not move to %s", queue, to.node)
		}
		return to
	}
	tb.Fatalf("there is no other broker for queue %s", queue)
	return nil
}
