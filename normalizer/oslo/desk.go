package oslo

import (
	"stackstream/internal/envelope"
	"stackstream/internal/rawjson"
)

// desk is where a notification is converted, in the memory of the one before. What is made of it shares none with its desk.
type desk struct {
	envelope envelope.Desk
	sent     rawjson.Doc // the payload, a part of what is in the envelope
	payload  rawjson.Doc // without its secrets, where it had some
	flat     flattening

	members, details rawjson.Object // of the notification, and of its payload
}

// maxMembers is how many members a desk keeps memory for, and how many cuts.
const maxMembers = 1 << 12

func (d *desk) clear() {
	d.envelope.Clear()
	d.sent = rawjson.Doc{}
	d.payload.Forget()
	d.flat.forget()
	d.members, d.details = forget(d.members), forget(d.details)
}

// forget lets go of the value, and of the names in it that were read last.
func (f *flattening) forget() {
	f.doc = nil
	f.flat.Forget()
	clear(f.within[:cap(f.within)])
	if cap(f.without) > maxMembers {
		f.without = nil
	}
}

// forget keeps the memory, and nothing that is in it.
func forget(o rawjson.Object) rawjson.Object {
	if cap(o) > maxMembers {
		return nil
	}
	clear(o)
	return o[:0]
}
