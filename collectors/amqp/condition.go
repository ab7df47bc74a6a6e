package amqp

import (
	"strings"
	"sync"

	"stackstream/collectors"
)

// condition is something that may be wrong while a source works on, in the order in which people are told.
type condition int

const (
	conditionPreparing condition = iota
	conditionBlocked
	conditionBehind
	conditionMissing
	conditionDropping
	conditionGrowing
	conditionHandover
	lastTrouble = conditionHandover
	// From here on it is worth knowing and no more.
	conditionArguments condition = iota
	conditionSkew
	conditionUnknown
	conditionsCount
)

// conditions keeps what is wrong and reports each change, once. The texts have nothing in them that changes all the time.
type conditions struct {
	report collectors.Report

	mu    sync.Mutex
	texts [conditionsCount]string
}

func newConditions(report collectors.Report) *conditions { return &conditions{report: report} }

// set says what is wrong, "" that nothing is.
func (c *conditions) set(what condition, text string) {
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
			trouble = trouble || condition(i) <= lastTrouble
		}
	}
	c.report(trouble, strings.Join(all, "; "))
}
