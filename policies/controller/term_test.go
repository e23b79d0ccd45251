package controller

import "testing"

// A watch is not over at the very moment at which a term is: what it said then made the program panic.
func TestWhatAWatchSaysAfterATermBeginsNothing(t *testing.T) {
	c := &Controller{leading: t.Context()}
	c.endAll()
	c.begin("acme")
	if len(c.kept()) != 0 {
		t.Error("a bundle is kept by nobody who leads")
	}
}
