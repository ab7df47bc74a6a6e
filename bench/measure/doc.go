// Package measure has what a benchmark of whole processes needs: what a process has used, as the kernel counts it, events that are
// handed over at a pace that does not wait for anybody, and figures that say how far they can be trusted.
package measure
