package normalizer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"stackstream/event"
)

// Conversion says what becomes of raw events: to the Service, and to a job that converts them once more. It is safe for
// concurrent use.
type Conversion struct {
	// Converters by the format of the raw event (Raw.Format).
	Converters map[string]Converter
	Bodies     Bodies
}

// Outcome says what becomes of a raw event, and how many bytes that takes: those of the body, or of what it became where
// that is more. Its error is that of ReadBody.
func (c *Conversion) Outcome(
	ctx context.Context, raw event.StoredRaw, waits func(error) error,
) (o event.Outcome, bytes int, err error) {
	body, lost, err := c.ReadBody(ctx, raw, waits)
	if err != nil {
		return event.Outcome{}, 0, err
	}
	if lost != nil {
		return dead(raw, event.ReasonBodyLost, lost.Error()), 0, nil
	}
	o = c.Convert(raw, body)
	return o, max(len(body), payloads(o.Events)), nil
}

// ReadBody returns the body of a raw event, from its object where it is in one. It tries until the object is read, or known
// to be gone: lost says so then. waits is told why before each pause, and ends the reading with an error; the only other
// error is ctx's.
func (c *Conversion) ReadBody(
	ctx context.Context, raw event.StoredRaw, waits func(error) error,
) (body []byte, lost, err error) {
	if raw.BodyRef.Object == "" {
		return raw.Body, nil, nil
	}
	pause := newBackOff()
	for {
		body, err := c.Bodies.GetBody(ctx, raw.BodyRef)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if err == nil || event.KindOf(err) == event.Expired {
			return body, err, nil
		}
		if err := waits(fmt.Errorf("read body of raw event %d: %w", raw.Sequence, err)); err != nil {
			return nil, nil, err
		}
		wait(ctx, pause.NextBackOff())
	}
}

// Convert says what becomes of a raw event whose body is at hand. It never fails: what can't be converted is a dead
// letter. The raw event in the outcome is as RAW holds it, so a body that is kept in an object stays there.
func (c *Conversion) Convert(raw event.StoredRaw, body []byte) event.Outcome {
	if raw.Drops() {
		return event.Outcome{Raw: raw}
	}
	return Convert(c.Converters, raw, body)
}

// Convert says what the normalizer would make of a raw event with these converters, and makes it of nothing else: for those
// who want to know before they have it made.
func Convert(converters map[string]Converter, raw event.StoredRaw, body []byte) event.Outcome {
	converter, ok := converters[raw.Format]
	if !ok {
		return dead(raw, event.ReasonNoConverter, fmt.Sprintf("nothing converts the format %q", raw.Format))
	}
	whole := raw.Raw
	whole.Body = body
	converted, panicked, err := callConverter(converter, whole)
	if err == nil {
		err = finish(converted.Events, raw)
	}
	var o event.Outcome
	switch {
	case panicked:
		o = dead(raw, event.ReasonPanic, err.Error())
	case err != nil:
		o = dead(raw, event.ReasonMalformed, err.Error())
	default:
		o = event.Outcome{Raw: raw, Events: converted.Events, Redacted: converted.Redacted, Mended: converted.Mended}
		if o.Trace = event.NewTrace(raw.Header[event.HeaderTraceparent], raw.Header[event.HeaderTracestate]); o.Trace.Parent == "" {
			o.Trace = converted.Trace
		}
	}
	o.Converter = converter.Name()
	return o
}

// payloads is how many bytes the events have: a body that is compressed may become a thousand times of what it was.
func payloads(events []event.Event) int {
	n := 0
	for i := range events {
		n += len(events[i].Payload)
	}
	return n
}

// maxPanic bounds what a panic says of itself, so that it leaves room in a header for where it happened.
const maxPanic = 512

// callConverter turns a panic into an error and where it happened.
func callConverter(c Converter, raw event.Raw) (converted Converted, panicked bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			converted, panicked, err = Converted{}, true, fmt.Errorf("panic: %s\n%s", cut(fmt.Sprint(p), maxPanic), panicStack())
		}
	}()
	converted, err = c.Convert(raw)
	return converted, false, err
}

// cut returns at most that many bytes of s, and says that there was more.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// panicStack names the functions between the panic and callConverter, the innermost first, shorter than debug.Stack
// does: it has to travel in a header.
func panicStack() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])]) // without Callers, this and the deferred function
	var b strings.Builder
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if strings.HasSuffix(f.Function, ".callConverter") {
			break
		}
		if !strings.HasPrefix(f.Function, "runtime.") {
			fmt.Fprintf(&b, "%s %s:%d\n", f.Function, filepath.Base(f.File), f.Line)
		}
	}
	return b.String()
}

// finish says where the events came from and checks that they are events: a converter's mistake costs the one raw
// event, it must not hold up those behind it.
func finish(events []event.Event, raw event.StoredRaw) error {
	if len(events) == 0 {
		return errors.New("the converter made no event of it")
	}
	source := raw.Source
	if raw.Repair != nil && raw.Repair.Source != "" {
		source = raw.Repair.Source
	}
	for i := range events {
		e := &events[i]
		e.Provider, e.Source = raw.Provider, source
		switch {
		case e.MessageID == "":
			return errors.New("the converter gave no message_id")
		case e.EventType == "":
			return errors.New("the converter gave no event_type")
		case e.Timestamp.IsZero():
			return errors.New("the converter gave no timestamp")
		}
	}
	return nil
}

func dead(raw event.StoredRaw, reason event.Reason, detail string) event.Outcome {
	return event.Outcome{Raw: raw, Dead: &event.DeadLetter{Reason: reason, Detail: detail}}
}
