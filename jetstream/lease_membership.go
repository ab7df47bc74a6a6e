package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// leaveLimit is how long a process goes on renewing for work that does not stop.
const leaveLimit = 30 * time.Second

// membership is one stay among the processes of the role.
type membership struct {
	*Leases
	m *member

	processes  map[string]seenProcess // those that are alive, by id, this one included
	owners     map[string]seenOwner   // by key
	dead       map[string]bool        // ids that are known not to come back
	generation int                    // changes with the set of processes

	free    map[string]time.Time // since when a lease that is waited for is seen to be free
	retry   map[string]time.Time // when to try again, by key or id
	over    time.Time            // since when this process has more than its share; zero if it has not
	staying map[string]int       // leases that nobody took when they were handed over, with the generation of that
}

type seenProcess struct {
	process
	at time.Time
}

type seenOwner struct {
	owner
	rev uint64
}

// attend joins the others and stays until ctx ends and no work is done any more, or until the member ends. joined tells
// whether it got so far.
func (l *Leases) attend(ctx context.Context) (joined bool, err error) {
	// What is running goes on after ctx has ended, but not if it never got to run.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	started := context.AfterFunc(ctx, stop)
	late := time.AfterFunc(3*answerTimeout, stop)
	defer late.Stop()
	s := &membership{
		Leases: l, processes: map[string]seenProcess{}, owners: map[string]seenOwner{}, dead: map[string]bool{},
		free: map[string]time.Time{}, retry: map[string]time.Time{}, staying: map[string]int{},
	}
	leases, owners, err := l.buckets(ctx)
	if err != nil {
		return false, err
	}
	processUpdates, err := s.watch(ctx, running, leases, s.sawProcess)
	if err != nil {
		return false, err
	}
	ownerUpdates, err := s.watch(ctx, running, owners, s.sawOwner)
	if err != nil {
		return false, err
	}
	id := newID()
	s.m = &member{
		id: id, key: processKey(l.role, id), leases: leases, owners: owners,
		moved: map[string]time.Time{}, released: map[string]uint64{},
	}
	ttl, made, err := l.identify(ctx, leases, owners)
	if err != nil {
		return false, err
	}
	s.m.madeAt = made
	s.m.ttl.Store(int64(ttl))
	if err := s.m.join(ctx, s.describe()); err != nil {
		return false, readError(ctx, "join the processes of "+string(l.role), err)
	}
	defer s.m.end()
	late.Stop()
	started()
	s.processes[id] = seenProcess{process: s.m.published, at: time.Now()}
	return true, s.stay(ctx, running, processUpdates, ownerUpdates)
}

// buckets opens both buckets.
func (l *Leases) buckets(ctx context.Context) (leases, owners natsjs.KeyValue, err error) {
	const op = "open the lease buckets"
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	ctx, release := l.c.failOnRefusal(ctx, func(subject string) bool {
		return strings.Contains(subject+".", ".KV_"+BucketLeases+".") || strings.Contains(subject+".", ".KV_"+BucketOwners+".")
	})
	defer release()
	if leases, err = l.c.js.KeyValue(ctx, BucketLeases); err != nil {
		return nil, nil, readError(ctx, op, fmt.Errorf("%s: %w", BucketLeases, err))
	}
	if owners, err = l.c.js.KeyValue(ctx, BucketOwners); err != nil {
		return nil, nil, readError(ctx, op, fmt.Errorf("%s: %w", BucketOwners, err))
	}
	return leases, owners, nil
}

// identify reads how long an entry of LEASES lives, and when OWNERS was made.
func (l *Leases) identify(ctx context.Context, leases, owners natsjs.KeyValue) (ttl time.Duration, made time.Time, err error) {
	const op = "ask about the lease buckets"
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	status, err := leases.Status(ctx)
	if err != nil {
		return 0, made, readError(ctx, op, err)
	}
	if ttl = status.TTL(); ttl <= 0 {
		return 0, made, invalid(op, fmt.Errorf("bucket %s has no time to live", BucketLeases))
	}
	if made, err = bucketMade(ctx, owners); err != nil {
		return 0, made, readError(ctx, op, err)
	}
	return ttl, made, nil
}

// bucketMade is when a bucket was made: another time means another bucket.
func bucketMade(ctx context.Context, bucket natsjs.KeyValue) (time.Time, error) {
	status, err := bucket.Status(ctx)
	if err != nil {
		return time.Time{}, err
	}
	of, ok := status.(*natsjs.KeyValueBucketStatus)
	if !ok {
		return time.Time{}, fmt.Errorf("the status of %s is a %T", bucket.Bucket(), status)
	}
	return of.StreamInfo().Created, nil
}

// watch reads what a bucket has for the role, and returns what changes from then on.
func (s *membership) watch(
	ctx, running context.Context, bucket natsjs.KeyValue, saw func(natsjs.KeyValueEntry),
) (<-chan natsjs.KeyValueEntry, error) {
	op := "watch bucket " + bucket.Bucket()
	watcher, err := bucket.Watch(running, string(s.role)+".>")
	if err != nil {
		return nil, readError(ctx, op, err)
	}
	late := time.After(answerTimeout)
	for {
		select {
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok:
				return nil, unavailable(op, errWatchEnded)
			case entry == nil:
				return watcher.Updates(), nil
			default:
				saw(entry)
			}
		case <-late:
			return nil, unavailable(op, errors.New("no answer"))
		case <-ctx.Done():
			return nil, unavailable(op, ctx.Err())
		}
	}
}

var errWatchEnded = errors.New("the watch has ended")

// stay is the loop of a membership.
func (s *membership) stay(ctx, running context.Context, processes, owners <-chan natsjs.KeyValueEntry) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	ended := ctx.Done()
	var leaveBy <-chan time.Time
	for {
		select {
		case <-ended:
			ended, leaveBy = nil, time.After(leaveLimit)
		case <-leaveBy:
			return ctx.Err()
		case <-s.m.ctx.Done():
			return unavailable("hold leases", context.Cause(s.m.ctx))
		case entry, ok := <-processes:
			if !ok {
				return unavailable("hold leases", errWatchEnded)
			}
			if entry != nil {
				s.sawProcess(entry)
			}
		case entry, ok := <-owners:
			if !ok {
				return unavailable("hold leases", errWatchEnded)
			}
			if entry != nil {
				s.sawOwner(entry)
			}
		case <-s.kick:
		case <-timer.C:
		}
		if len(processes)+len(owners) > 0 && !s.due() {
			continue // know all before doing anything
		}
		if ctx.Err() != nil {
			if held, leaving, _ := s.count(); held+leaving == 0 {
				return s.m.leave(running)
			}
		} else {
			s.act(running)
		}
		timer.Reset(s.keepAlive(running))
	}
}

// keepAlive renews the entry when it is time, or when what it says has changed, and returns when to look again.
func (s *membership) keepAlive(ctx context.Context) time.Duration {
	now := s.describe()
	interval := s.m.life() / 3
	if now != s.m.published {
		interval = s.m.soon()
	}
	if time.Since(s.m.sent) >= interval {
		s.m.renew(ctx, now)
		s.m.checkBuckets(ctx)
		if now != s.m.published {
			return s.m.soon() // it did not go well
		}
		s.processes[s.m.id] = seenProcess{process: now, at: time.Now()}
		interval = s.m.life() / 3
	}
	return min(interval-min(time.Since(s.m.sent), interval), s.m.soon())
}

// due tells whether it is time to renew.
func (s *membership) due() bool { return time.Since(s.m.sent) >= s.m.life()/3 }

func (s *membership) describe() process {
	held, leaving, waiting := s.count()
	p := process{Name: s.name, Held: held + leaving, Waiting: waiting}
	if s.m != nil {
		p.ID = s.m.id
	}
	return p
}

func (s *membership) sawProcess(entry natsjs.KeyValueEntry) {
	id := strings.TrimPrefix(entry.Key(), string(s.role)+".")
	var p process
	if entry.Operation() != natsjs.KeyValuePut || json.Unmarshal(entry.Value(), &p) != nil || p.Dead {
		if _, there := s.processes[id]; there {
			delete(s.processes, id)
			s.generation++
		}
		if s.m != nil && id == s.m.id {
			s.m.vanished(entry.Revision())
		}
		return
	}
	if _, there := s.processes[id]; !there {
		s.generation++
	}
	s.processes[id] = seenProcess{process: p, at: time.Now()}
}

func (s *membership) sawOwner(entry natsjs.KeyValueEntry) {
	key := strings.TrimPrefix(entry.Key(), string(s.role)+".")
	var o owner
	if entry.Revision() < s.owners[key].rev {
		return // from before our own claim, whose answer was faster
	}
	if entry.Operation() != natsjs.KeyValuePut || json.Unmarshal(entry.Value(), &o) != nil {
		delete(s.owners, key)
		return
	}
	s.owners[key] = seenOwner{owner: o, rev: entry.Revision()}
}
