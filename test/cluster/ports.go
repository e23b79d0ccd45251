package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
)

// Ports below those that operating systems hand to outgoing connections (Linux:
// 32768 and up): a server that restarts finds its own still free.
const (
	lowestPort  = 20000
	highestPort = 30000
	// portsEach is the share of one process, by its number: several test programs run at once, and a port
	// is free for a while between being found and being used.
	portsEach = 200
)

// givenPorts are those that this process has been told are free: none is given twice.
var givenPorts = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// FreePort returns a port of 127.0.0.1 that nobody listens on.
func FreePort() (int, error) {
	givenPorts.Lock()
	defer givenPorts.Unlock()
	shares := (highestPort - lowestPort) / portsEach
	own := lowestPort + os.Getpid()%shares*portsEach
	var lastErr error
	for try := range 200 {
		port := own + rand.IntN(portsEach)
		if try >= 100 { // nearly all of the share is used
			port = lowestPort + rand.IntN(highestPort-lowestPort)
		}
		if givenPorts.ports[port] {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			givenPorts.ports[port] = true
			return port, listener.Close()
		}
		lastErr = err
	}
	return 0, errors.Join(errors.New("finding a free port on 127.0.0.1: none of two hundred was"), lastErr)
}
