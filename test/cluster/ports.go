package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports below those that operating systems hand to outgoing connections (Linux:
// 32768 and up): a server that restarts finds its own still free.
const (
	lowestPort  = 20000
	highestPort = 30000
)

// FreePort returns a port of 127.0.0.1 that nobody listens on.
func FreePort() (int, error) {
	var lastErr error
	for range 100 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, listener.Close()
		}
		lastErr = err
	}
	return 0, errors.Join(errors.New("finding a free port on 127.0.0.1: none of a hundred was"), lastErr)
}
