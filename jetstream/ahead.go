package jetstream

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"stackstream/event"
)

// A server that is alone stages every batch in a directory of its own, and waits for its disk four times before it answers the first
// message; a lone event that waits for that, in both hops, takes half as long again. So the next batch of a source is opened before
// there is anything to write, behind one that was small and came soon after another. What its first message has to be is known: the
// cursor that the batch replaces is written once more, as it is in a cluster for the turn (takeTurn); the first expects that cursor, and
// the new one expects nothing: no other writer comes between messages of one batch. What follows is the batch as it would be by itself,
// and so are the answers.
//
// A batch that is open takes one of the server's places, of which it has 50 per stream for all processes. So a Log opens few, only while
// there is something to write again and again, and gives each up after a second: with a message out of turn, at which the server
// forgets the batch. Nobody is told how many places are taken: who is refused one opens none ahead for a while, so that of many processes
// some do without, and what is to be written finds room.
const (
	// maxAhead is how many batches a Log has open that nothing is written into yet.
	maxAhead = 2
	// aheadFor is how long such a batch is kept, and how soon a batch has to follow another for a third one to be expected.
	aheadFor = time.Second
	// aheadPause is how long behind a commit the next batch is opened: the server keeps the stream to itself meanwhile, and those who
	// read what was committed come first.
	aheadPause = 2 * time.Millisecond
	// aheadRest is for how long none is opened after the server had no place.
	aheadRest = time.Minute
)

// ahead is a batch that is open at the server, or is about to be, in which there is nothing but the cursor that it replaces.
type ahead struct {
	cursor event.Message
	expect event.StreamSeq
	id     string
	opens  *time.Timer // in a while; nil of one that is under way
	gaveUp *time.Timer // when it is given up
	// reconnects is how often the client had been connected again: another connection may be to another server, or to one that was
	// started anew and has forgotten the batch.
	reconnects uint64
	answered   chan struct{} // closed when err is known
	err        error
}

// openAhead opens the batch that is to replace a cursor, in a while. previous is when this process wrote the cursor before that one: who
// takes over, or an operator's command, does not know whether there will be more.
func (l *Log) openAhead(cursor event.Message, at event.StreamSeq, previous time.Time) {
	if time.Since(previous) > aheadFor {
		return
	}
	a := &ahead{cursor: cursor, expect: at, id: nuid.Next(), answered: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ahead) >= maxAhead || l.ahead[cursor.Subject] != nil || time.Since(l.noPlace) < aheadRest {
		return
	}
	if l.ahead == nil {
		l.ahead = make(map[string]*ahead, maxAhead)
	}
	l.ahead[cursor.Subject] = a
	a.opens = time.AfterFunc(aheadPause, func() { l.openNow(a) })
}

// openNow opens a batch that nobody has taken in the meantime.
func (l *Log) openNow(a *ahead) {
	l.mu.Lock()
	if l.ahead[a.cursor.Subject] != a {
		l.mu.Unlock()
		return
	}
	a.opens, a.reconnects = nil, l.c.nc.Stats().Reconnects
	a.gaveUp = time.AfterFunc(aheadFor, func() { l.giveUp(a) })
	l.mu.Unlock()
	defer close(a.answered)
	first := buildMessage(a.cursor)
	replace(first, a.expect)
	a.mark(first, 1)
	ctx, cancel := context.WithTimeout(context.Background(), aheadFor)
	defer cancel()
	_, a.err = l.c.request(ctx, first)
	l.noteNoPlace(a.err)
}

// noteNoPlace tells whether the server had no place for a batch. None is opened ahead for a while then.
func (l *Log) noteNoPlace(err error) bool {
	var api *natsjs.APIError
	if !errors.As(err, &api) || api.ErrorCode != codeTooManyBatches {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noPlace = time.Now()
	return true
}

func (a *ahead) mark(m *nats.Msg, sequence int) {
	m.Header[headerBatchID] = []string{a.id}
	m.Header[headerBatchSequence] = []string{strconv.Itoa(sequence)}
}

// giveUp has the server forget a batch that was not used.
func (l *Log) giveUp(a *ahead) {
	l.mu.Lock()
	mine := l.ahead[a.cursor.Subject] == a
	if mine {
		delete(l.ahead, a.cursor.Subject)
	}
	l.mu.Unlock()
	if mine {
		l.abandonAhead(a)
	}
}

// abandon has the server forget a batch, with a message that is not the next in it: sequence is neither that one's nor 1. Should it be
// lost, the server forgets the batch after ten seconds.
func (l *Log) abandon(subject, id string, sequence int) {
	_ = l.c.nc.PublishMsg(&nats.Msg{Subject: subject, Header: nats.Header{
		headerBatchID: {id}, headerBatchSequence: {strconv.Itoa(sequence)},
	}})
}

func (l *Log) abandonAhead(a *ahead) { l.abandon(ingestSubject(a.cursor.Subject), a.id, maxBatch) }

// takeAhead returns the batch that is open for this one, nil where there is none. It waits for one that is under way: it has been for
// longer than one of its own would be.
func (l *Log) takeAhead(ctx context.Context, b *event.Batch) *ahead {
	a := l.removeAhead(b.Cursor.Subject)
	if a == nil {
		return nil
	}
	usable := a.expect == b.Expect && len(b.Messages) > 0 && sizeOf(b) < maxBatch && !replaces(b) && l.reaches(a)
	if usable {
		select {
		case <-a.answered:
			usable = a.err == nil && l.reaches(a)
		case <-ctx.Done():
			usable = false
		}
	}
	if !usable {
		l.abandonAnswered(a)
		return nil
	}
	return a
}

// dropAhead gives up the batch that is open for a cursor, if there is one.
func (l *Log) dropAhead(subject string) {
	if a := l.removeAhead(subject); a != nil {
		l.abandonAnswered(a)
	}
}

// removeAhead returns the batch that is open for a cursor, or under way, which is the caller's then.
func (l *Log) removeAhead(subject string) *ahead {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.ahead[subject]
	if a == nil {
		return nil
	}
	delete(l.ahead, subject)
	if a.opens != nil {
		a.opens.Stop() // openNow finds that it is gone, if that is too late
		return nil
	}
	a.gaveUp.Stop()
	return a
}

// reaches tells whether the server that the batch was opened at is still the one that there is a connection to.
func (l *Log) reaches(a *ahead) bool {
	return l.c.nc.IsConnected() && a.reconnects == l.c.nc.Stats().Reconnects
}

// abandonAnswered gives up a batch whose first message may be on its way: the last word is to come behind it.
func (l *Log) abandonAnswered(a *ahead) {
	select {
	case <-a.answered:
		l.abandonAhead(a)
	default:
		go func() {
			<-a.answered
			l.abandonAhead(a)
		}()
	}
}

// behind returns the messages as those that follow in the open batch, which expects the cursor already.
func (a *ahead) behind(messages []*nats.Msg) []*nats.Msg {
	last := len(messages) - 1
	cursor := *messages[last]
	cursor.Header = maps.Clone(cursor.Header)
	delete(cursor.Header, headerExpectLast)
	delete(cursor.Header, headerRollup)
	return append(messages[:last:last], &cursor)
}
