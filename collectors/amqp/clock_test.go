package amqp

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/collectors"
	"stackstream/event"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// at is so many seconds after noon.
func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

func newTestProbes() *probes {
	p := newProbes(15 * time.Second)
	p.heardAt = noon
	return p
}

// send returns the probe that is due.
func (p *probes) send(t *testing.T, now time.Time) string {
	t.Helper()
	id, due := p.next(now)
	if !due {
		t.Fatalf("no probe is due at %s", now)
	}
	return id
}

func TestProbesAreSentInTurn(t *testing.T) {
	p := newTestProbes()
	notDue := func(seconds int, why string) {
		t.Helper()
		if _, due := p.next(at(seconds)); due {
			t.Errorf("a probe is due after %d s, though %s", seconds, why)
		}
	}
	first := p.send(t, at(0))
	notDue(14, "one was sent just now")
	notDue(60, "one is under way")
	if number, sent, ours := p.back(first, at(61)); number != 1 || !sent.Equal(at(0)) || !ours {
		t.Errorf("the first probe comes back as %d of %s (ours: %t)", number, sent, ours)
	}
	second := p.send(t, at(61))
	notDue(61+8*15-1, "one is under way")
	third := p.send(t, at(61+8*15)) // the second one is taken for dropped
	if number, _, ours := p.back(third, at(182)); number != 3 || !ours {
		t.Errorf("the third probe comes back as %d (ours: %t)", number, ours)
	}
	if _, _, ours := p.back(second, at(183)); ours {
		t.Error("a probe counts after a later one came back")
	}
	if _, _, ours := p.back(third, at(183)); ours {
		t.Error("a probe counts twice")
	}
	notDue(190, "one came back just now")
	if number := p.hurry(); number != 4 {
		t.Errorf("the next probe is number %d, want 4", number)
	}
	if id := p.send(t, at(190)); !strings.HasSuffix(id, "/4") {
		t.Errorf("the fourth probe is %s", id)
	}
	notDue(191, "the hurry is over")
}

func TestProbesOfOthersDoNotCount(t *testing.T) {
	p, earlier := newTestProbes(), newTestProbes()
	theirs := earlier.send(t, at(0))
	ours := p.send(t, at(0))
	session, _, _ := strings.Cut(ours, "/")
	for _, id := range []string{theirs, "", "1", "/1", session, session + "/", session + "/2", session + "/x", session + "/1/1", "\xff"} {
		if _, _, counts := p.back(id, at(1)); counts {
			t.Errorf("the probe %q counts", id)
		}
	}
	if p.proven() {
		t.Error("a probe is said to have come back, and none has")
	}
	if _, _, counts := p.back(ours, at(1)); !counts || !p.proven() {
		t.Error("our own probe does not count")
	}
}

func TestProbesAreOverdue(t *testing.T) {
	for _, c := range []struct {
		name   string
		happen func(t *testing.T, p *probes)
		last   int // when the last of that happens, in seconds
		late   int // when it is overdue; 0: never
	}{
		{"nothing was sent", func(*testing.T, *probes) {}, 0, 0},
		{"it is under way", func(t *testing.T, p *probes) { p.send(t, at(0)) }, 0, 31},
		{"it is back", func(t *testing.T, p *probes) { p.back(p.send(t, at(0)), at(1)) }, 1, 0},
		{"other things come", func(t *testing.T, p *probes) { p.send(t, at(0)); p.heard(at(100)) }, 100, 131},
		{"nothing came for long before it was sent", func(t *testing.T, p *probes) { p.send(t, at(1000)) }, 1000, 1031},
		{"another one was sent", func(t *testing.T, p *probes) { p.send(t, at(0)); p.send(t, at(120)) }, 120, 120},
		{"they are sent often", func(t *testing.T, p *probes) { p.every = time.Second; p.send(t, at(0)) }, 0, 6},
		{"the broker blocks us", func(t *testing.T, p *probes) { p.send(t, at(0)); p.block(true, at(1)) }, 1, 0},
		{"the broker blocked us", func(t *testing.T, p *probes) {
			p.send(t, at(0))
			p.block(true, at(1))
			p.block(false, at(500))
		}, 500, 531},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newTestProbes()
			c.happen(t, p)
			found := 0
			for s := c.last; found == 0 && s < 3600; s++ {
				if p.overdue(at(s)) {
					found = s
				}
			}
			if found != c.late {
				t.Errorf("overdue after %d s, want %d", found, c.late)
			}
		})
	}
}

func TestBlockedSendsNoProbes(t *testing.T) {
	p := newTestProbes()
	p.block(true, at(0))
	p.hurry()
	if _, due := p.next(at(1000)); due {
		t.Error("a probe is sent to a broker that blocks")
	}
	p.block(false, at(1001))
	p.send(t, at(1001))
}

func TestQuickIsWhatCameBackAtOnce(t *testing.T) {
	p := newTestProbes()
	if p.quick() {
		t.Error("quick before any probe")
	}
	p.back(p.send(t, at(0)), at(1))
	if !p.quick() {
		t.Error("a second is not quick")
	}
	p.back(p.send(t, at(20)), at(30))
	if p.quick() {
		t.Error("ten seconds are quick")
	}
}

// testConsumer has no connection; what it emits goes to emit.
func testConsumer(cfg Config, emit collectors.Emit) *consumer {
	src := &Source{cfg: cfg, name: Kind, opts: Options{Provider: cloud, Report: func(bool, string) {}}, exchanges: []string{"nova"}}
	src.filter, _ = collectors.NewFilter(collectors.FilterConfig{})
	s := newSession(src, state{Claims: map[string]claim{"nova": {Bound: true}}, BodyBytes: 600}, event.From{}, nil, nil, emit)
	return &consumer{session: s, prefetch: cfg.Prefetch, known: map[string]bool{"k": true}}
}

func delivery(tag uint64, id string) amqp091.Delivery {
	return amqp091.Delivery{DeliveryTag: tag, Exchange: "nova", RoutingKey: "k", Body: notified(id, "x.y")}
}

// While a full prefetch waits to become durable, nothing can come, and a probe is not overdue.
func TestFullPrefetchIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Default()
		cfg.Prefetch = 3
		c := testConsumer(cfg, func(context.Context, collectors.Batch) error { return nil })
		ch := new(amqp091.Channel)
		c.acks.begin(ch)
		c.probes.send(t, time.Now())
		for tag := range uint64(3) {
			if err := c.take(t.Context(), ch, delivery(tag+1, fmt.Sprint(tag)), nil); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(time.Hour) // of the bubble's
		if err := c.check(time.Now()); err != nil {
			t.Errorf("the prefetch is full, and %v", err)
		}
		c.acks.upTo(ch, 1)()
		c.acks.done = 1
		<-time.After(29 * time.Second)
		if err := c.check(time.Now()); err != nil {
			t.Errorf("there was room for 29 s, and %v", err)
		}
		<-time.After(2 * time.Second)
		if err := c.check(time.Now()); event.KindOf(err) != event.Unavailable {
			t.Errorf("there was room for 31 s, nothing came, and the check says %v", err)
		}
	})
}

// Nothing is delivered to a consumer that waits for room in the loop's queue.
func TestWaitingForRoomIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConsumer(Default(), func(context.Context, collectors.Batch) error { <-time.After(time.Hour); return nil })
		ch := new(amqp091.Channel)
		c.acks.begin(ch)
		c.probes.send(t, time.Now())
		if err := c.take(t.Context(), ch, delivery(1, "a"), nil); err != nil {
			t.Fatal(err)
		}
		if err := c.check(time.Now()); err != nil {
			t.Errorf("it waited for room, and %v", err)
		}
	})
}

// The loop calls Done late for a cursor that moved without events, unless it is urgent; known ones are no events.
func TestUrgentBeforeThePrefetchIsUsedUp(t *testing.T) {
	cfg := Default()
	cfg.Prefetch = 10
	var urgent []bool
	c := testConsumer(cfg, func(_ context.Context, b collectors.Batch) error { urgent = append(urgent, b.Urgent); return nil })
	ch := new(amqp091.Channel)
	c.acks.begin(ch)
	for tag := range uint64(10) {
		if err := c.take(t.Context(), ch, delivery(tag+1, fmt.Sprint(tag)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if want := []bool{false, false, false, false, false, true, true, true, true, true}; !slices.Equal(urgent, want) {
		t.Errorf("urgent were %v, want %v", urgent, want)
	}
}

func TestWatermarkIsBehindTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got collectors.Batch
		c := testConsumer(Default(), func(_ context.Context, b collectors.Batch) error { got = b; return nil })
		ch := new(amqp091.Channel)
		c.acks.begin(ch)
		sent := time.Now()
		probe := amqp091.Delivery{DeliveryTag: 2, Exchange: c.names.probe, MessageId: c.probes.send(t, sent)}
		more := make(chan amqp091.Delivery, 2)
		more <- probe
		more <- delivery(3, "b")
		<-time.After(10 * time.Second)
		if err := c.take(t.Context(), ch, delivery(1, "a"), more); err != nil {
			t.Fatal(err)
		}
		if len(got.Events) != 2 || !got.Watermark.Equal(sent.Add(-settle)) {
			t.Errorf("%d events with the watermark %s; want 2 with %s before %s", len(got.Events), got.Watermark, settle, sent)
		}
	})
}

func TestAcknowledgementsAreOfOneChannel(t *testing.T) {
	a := newAcks()
	one, two := new(amqp091.Channel), new(amqp091.Channel)
	a.begin(one)
	late := a.upTo(one, 7)
	a.upTo(one, 3)()
	a.upTo(one, 2)() // out of turn: it takes nothing back
	if a.durable != 3 || a.open(5) != 5 {
		t.Errorf("up to %d is durable and %d are open; want 3 and 5", a.durable, a.open(5))
	}
	a.begin(two)
	late()
	if a.durable != 0 || a.open(4) != 4 {
		t.Errorf("after another channel was opened, up to %d is durable and %d are open", a.durable, a.open(4))
	}
	a.upTo(two, 1)()
	a.leave()
	a.flush() // nothing is sent on a channel that is being closed, which would end the connection
	if a.done != 0 {
		t.Error("something was acknowledged on a channel that was left")
	}
}

func TestLooksForMissingExchanges(t *testing.T) {
	for _, c := range []struct {
		name        string
		bound       bool
		first, most time.Duration
	}{{"never seen", false, 2 * time.Second, 30 * time.Second}, {"gone", true, time.Second, 5 * time.Second}} {
		t.Run(c.name, func(t *testing.T) {
			k := upkeep{there: true, last: noon}
			now, before := noon, time.Duration(0)
			for i := range 20 {
				k.missed(now, c.bound)
				pause := k.next.Sub(now)
				switch {
				case k.there:
					t.Fatal("it is missing, and said to be there")
				case i == 0 && pause != c.first:
					t.Errorf("the first pause is %s, want %s", pause, c.first)
				case pause < before || pause > c.most || pause == before && pause != c.most:
					t.Errorf("pause %d is %s, after %s", i, pause, before)
				}
				now, before = k.next, pause
			}
			if before != c.most {
				t.Errorf("the pauses grow to %s, want %s", before, c.most)
			}
			if !k.last.Equal(noon) {
				t.Error("it is forgotten when it was there")
			}
		})
	}
	k := upkeep{pause: time.Minute}
	if k.missed(noon, true); k.pause != goneMost {
		t.Errorf("the pause for one that is gone is %s after it had never been there", k.pause)
	}
}

func TestGrowingIsSaidAfterSixLooks(t *testing.T) {
	for _, c := range []struct {
		name  string
		ready []int
		grows []int // at these looks
	}{
		{"small", []int{1, 10, 100, 1000, 5000, 8000, 9999, 10_000, 10_000}, nil},
		{"larger and larger", []int{10_001, 10_002, 10_003, 10_004, 10_005, 10_006, 10_007, 10_007, 10_008}, []int{5, 6, 7, 8}},
		{"a pause between", []int{20_001, 20_002, 20_003, 20_003, 20_004, 20_005, 20_006}, []int{6}},
		{"shorter once", []int{20_001, 20_002, 20_003, 20_004, 20_005, 20_004, 20_005, 20_006}, nil},
		{"and drained", []int{20_001, 20_002, 20_003, 20_004, 20_005, 20_006, 20_007, 20_000, 20_001}, []int{5, 6}},
		{"and small", []int{20_001, 20_002, 20_003, 20_004, 20_005, 20_006, 10_000}, []int{5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var q depth
			for i, n := range c.ready {
				if grows := q.grows(n); grows != slices.Contains(c.grows, i) {
					t.Errorf("look %d finds %d: growing is %t", i, n, grows)
				}
			}
		})
	}
}

func TestConditionsAreReportedOnceAndInOrder(t *testing.T) {
	var got []string
	c := newConditions(func(trouble bool, what string) { got = append(got, fmt.Sprintf("%t %s", trouble, what)) })
	c.Set(conditionSkew, "")
	c.Set(conditionSkew, "skew")
	c.Set(conditionUnknown, "unknown")
	c.Set(conditionSkew, "skew")
	c.Set(conditionHandover, "handover")
	c.Set(conditionBlocked, "blocked")
	c.Set(conditionMissing, "missing")
	c.Set(conditionBlocked, "")
	c.Set(conditionMissing, "")
	c.Set(conditionHandover, "")
	c.Set(conditionSkew, "")
	c.Set(conditionUnknown, "")
	want := []string{
		"false skew", "false skew; unknown", "true handover; skew; unknown", "true blocked; handover; skew; unknown",
		"true blocked; missing; handover; skew; unknown", "true missing; handover; skew; unknown", "true handover; skew; unknown",
		"false skew; unknown", "false unknown", "false ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("reported was\n%q, want\n%q", got, want)
	}
	for what := range conditionsCount {
		trouble := false
		newConditions(func(is bool, _ string) { trouble = is }).Set(what, "x")
		if trouble != (what <= conditionHandover) {
			t.Errorf("condition %d is trouble: %t", what, trouble)
		}
	}
}

func TestSkewTakesTheYoungest(t *testing.T) {
	var s skew
	s.add(noon, time.Time{}) // it says nothing
	s.add(noon, at(-5))
	s.add(noon, at(-90))
	if _, known := s.take(); known {
		t.Error("two notifications tell something about clocks")
	}
	s.add(noon, at(-7))
	if ahead, known := s.take(); !known || ahead != -5*time.Second {
		t.Errorf("their clocks are %s ahead (known: %t); want 5 s behind", ahead, known)
	}
	if _, known := s.take(); known {
		t.Error("what was told is told again")
	}
	for seconds, says := range map[int]string{0: "", 30: "", -30: "", 31: "ahead of", -31: "behind"} {
		if text := skewText(time.Duration(seconds) * time.Second); (text == "") != (says == "") || !strings.Contains(text, says) {
			t.Errorf("a skew of %d s is %q", seconds, text)
		}
	}
}
