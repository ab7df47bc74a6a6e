package collectors

import (
	"strings"
	"sync"
)

// Conditions keeps what may be wrong while a source works on, and reports each change, once. The texts should have nothing in
// them that changes all the time.
type Conditions struct {
	report  Report
	trouble int

	mu    sync.Mutex
	texts []string
}

// NewConditions are so many, told in the order of their numbers. Those below trouble are trouble; the others are worth knowing
// and no more.
func NewConditions(report Report, count, trouble int) *Conditions {
	return &Conditions{report: report, trouble: trouble, texts: make([]string, count)}
}

// Set says what is wrong, "" that nothing is.
func (c *Conditions) Set(what int, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.texts[what] == text {
		return
	}
	c.texts[what] = text
	trouble := false
	var all []string
	for i, t := range c.texts {
		if t != "" {
			all = append(all, t)
			trouble = trouble || i < c.trouble
		}
	}
	c.report(trouble, strings.Join(all, "; "))
}
