// Package monitoring tests the alerts and the dashboard of the folder deploy: that they are about metrics that the program has,
// that promtool takes them, and that every alert fires when it should and is silent when it should be. It has tests only.
package monitoring
