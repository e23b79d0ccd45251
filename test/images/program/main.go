// Command program is what the images of the demo and of tests run: it says that it runs
// and waits for the end.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	fmt.Println("running")
	<-stop
}
