package amqp

import "stackstream/collectors"

// What may be wrong while a source works on, in the order in which people are told.
const (
	conditionPreparing = iota
	conditionBlocked
	conditionBehind
	conditionMissing
	conditionDropping
	conditionGrowing
	conditionHandover
	// From here on it is worth knowing and no more.
	conditionArguments
	conditionSkew
	conditionUnknown
	conditionsCount
)

func newConditions(report collectors.Report) *collectors.Conditions {
	return collectors.NewConditions(report, conditionsCount, conditionArguments)
}
