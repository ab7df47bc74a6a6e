package letters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stackstream/event"
)

// Job has something done about letters of one provider.
type Job struct {
	*Provider
	Writer Writer
	// Drop: they are to stay dead. Otherwise they are converted again.
	Drop    bool
	By, Why string

	// sent is the stream sequence up to which it is known what is in RAW, and position the number.
	sent     event.StreamSeq
	position event.Seq
}

// Picked are the letters that something is to be done about.
type Picked struct {
	Places []Place
	// Queued are letters that the filter wants and about which something is under way already.
	Queued []event.Seq
	// Lost is how many are left out because their bodies are gone, Done how many because it was done.
	Lost, Done int
	Groups     Groups
}

// Open reads what was done about the letters, and what is under way. It must be called before all else.
func (j *Job) Open(ctx context.Context) error {
	return j.patiently(ctx, func() error {
		j.book = NewBook()
		j.sent, j.position = 0, 0
		if err := j.refresh(ctx); err != nil {
			return err
		}
		return j.states(ctx)
	})
}

// settles is how long RAW may have more than the cursor speaks of, while somebody else is writing.
const settles = 10 * time.Second

// refresh takes what was sent since, by whomever, and the cursor behind it. Of what RAW holds no longer the normalizer has recorded
// what became of it.
func (j *Job) refresh(ctx context.Context) error {
	for began := time.Now(); ; {
		cursor, err := j.Writer.Open(ctx)
		if err != nil {
			return err
		}
		last, next, gone := event.Seq(0), j.position+1, false
		err = j.Streams.Sent(ctx, j.Name, j.sent+1, cursor.Sequence, func(raw event.StoredRaw) error {
			j.book.Sent(raw.Repair.Letter, raw.Repair.Drop)
			j.sent, last = max(j.sent, raw.Sequence), max(last, raw.Seq)
			gone = gone || raw.Seq > next
			next = max(next, raw.Seq+1)
			return nil
		})
		if err != nil {
			return err
		}
		if last <= cursor.Position {
			gone = gone || next <= cursor.Position
			if j.position = cursor.Position; gone {
				return j.states(ctx)
			}
			return nil
		}
		if time.Since(began) > settles {
			return fmt.Errorf("the cursor of %s stands at %d, and %s has event %d: another command is at work, or a batch lost its cursor",
				event.RawSubject(j.Name, event.SourceRedrive), cursor.Position, event.StreamRaw, last)
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// Pick selects the letters that the filter wants and about which the job may do something.
func (j *Job) Pick(ctx context.Context, f *Filter) (picked Picked, err error) {
	err = j.patiently(ctx, func() (err error) {
		picked, err = j.pick(ctx, f)
		return err
	})
	return picked, err
}

func (j *Job) pick(ctx context.Context, f *Filter) (Picked, error) {
	var picked Picked
	all := *f
	all.State, all.Limit = "", 0
	seen := map[event.Seq]bool{}
	err := j.each(ctx, &all, func(l *event.Letter, state string) error {
		switch {
		case state == Queued:
			picked.Queued = append(picked.Queued, l.Number)
		case f.State != "" && f.State != state || seen[l.Number]:
		case !j.book.May(l.Number, j.Drop):
			picked.Done++
		case !j.Drop && l.Reason == event.ReasonBodyLost && !f.names(event.ReasonBodyLost):
			picked.Lost++
		default:
			seen[l.Number] = true
			picked.Places = append(picked.Places, PlaceOf(l))
			picked.Groups.add(l, state)
			if uint64(len(picked.Places)) == f.Limit {
				return errEnough
			}
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return picked, err
}

// Sent is what a job has done.
type Sent struct {
	Letters []event.Seq
	// Others were sent by somebody else meanwhile, Lost have no body any more, Gone are letters that the stream has dropped.
	Others, Lost, Gone int
}

// Send sends the letters that were picked. It returns what it has done also with an error: what was sent before will be done, and
// a new Job goes on behind it. told is called after each batch with how many letters are dealt with.
func (j *Job) Send(ctx context.Context, picked Picked, told func(dealt int)) (Sent, error) {
	var done Sent
	dealt := 0
	err := j.Whole(ctx, picked.Places, func(chunk []Whole) error {
		sent, err := j.send(ctx, chunk)
		if err != nil {
			return err
		}
		dealt += len(chunk)
		done.Letters = append(done.Letters, sent.Letters...)
		done.Others += sent.Others
		done.Lost += sent.Lost
		told(dealt)
		return nil
	})
	if err == nil {
		done.Gone = len(picked.Places) - dealt
	}
	return done, err
}

// send sends a chunk, in one batch: so what is refused is refused as a whole, and what somebody else has sent is not ours.
func (j *Job) send(ctx context.Context, chunk []Whole) (Sent, error) {
	for {
		sent, events := j.events(chunk)
		if len(events) == 0 {
			return sent, nil
		}
		_, err := j.Writer.Commit(ctx, events, event.Progress{})
		if event.KindOf(err) == event.Fenced {
			if err := j.patiently(ctx, func() error { return j.refresh(ctx) }); err != nil {
				return Sent{}, err
			}
			continue
		}
		if err != nil {
			return Sent{}, err
		}
		for _, n := range sent.Letters {
			j.book.Sent(n, j.Drop)
		}
		return sent, nil
	}
}

// events makes raw events of the letters of a chunk about which something may still be done.
func (j *Job) events(chunk []Whole) (sent Sent, events []event.Raw) {
	for i := range chunk {
		l := &chunk[i]
		switch {
		case !j.book.May(l.Number, j.Drop):
			sent.Others++
		case !j.Drop && l.Lost != nil:
			sent.Lost++
		default:
			sent.Letters = append(sent.Letters, l.Number)
			events = append(events, l.Again(j.Drop, j.By, j.Why, l.Body))
		}
	}
	return sent, events
}

// wait returns nil after d, and ctx's error when that ends first.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
