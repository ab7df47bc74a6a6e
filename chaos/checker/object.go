package checker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// object is a body that is too large for a message.
type object struct {
	uses []objectUse
	told bool // Object has been called
}

// objectUse is a message that names it, by its record.
type objectUse struct {
	raw    bool
	record int
}

// mention remembers the object that a message names, if it names one.
func (c *Checker) mention(m Message, use objectUse) {
	name := m.header(headerBodyObject)
	if !isObjectName(name) {
		return
	}
	o := c.objects[name]
	if o == nil {
		o = &object{}
		c.objects[name] = o
	}
	o.uses = append(o.uses, use)
}

// Objects are the names of the objects that messages name in place of their bodies and of which Object has not been told.
func (c *Checker) Objects() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(c.objects)) {
		if !c.objects[name].told {
			names = append(names, name)
		}
	}
	return names
}

// Object takes what the object store has under a name; nil if nothing. Without it an object counts as what its name says.
func (c *Checker) Object(name string, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.objects[name]
	if o == nil {
		return
	}
	o.told = true
	switch {
	case body == nil:
		c.found.add(Lost, inObjects, func() string {
			return fmt.Sprintf("object %s, which %d messages name, is not there", name, len(o.uses))
		})
		return
	case objectPrefix+hexSum(body) != name:
		c.found.add(Altered, inObjects, func() string { return fmt.Sprintf("object %s is not what its name says", name) })
		return
	}
	for _, use := range o.uses {
		if use.raw || c.norm.at(use.record).is(isDead) {
			continue
		}
		r := c.norm.at(use.record)
		var e canonical
		_ = json.Unmarshal(body, &e) // what is no JSON says something else than was handed over
		r.token = c.tokenOf(e, body)
		r.flags &^= isObject
	}
}
