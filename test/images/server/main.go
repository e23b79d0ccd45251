// Command server is what the images of tests on a real node run: it answers each TCP
// connection to a port with its host's name and says on standard output whom it served.
// With an argument it prints what it reads, to the end: something to run with exec.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
)

// address is above the ports that need a privilege.
const address = ":8080"

func main() {
	if len(os.Args) > 1 {
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, "printing:", err)
		}
		return
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, "listening:", err)
		os.Exit(1)
	}
	fmt.Println("listening on", address)
	go serve(listener)
	<-stop
	fmt.Println("asked to stop")
}

func serve(listener net.Listener) {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "accepting:", err)
			return
		}
		fmt.Println("serving", connection.RemoteAddr())
		if _, err := fmt.Fprintln(connection, name); err != nil {
			fmt.Fprintln(os.Stderr, "answering:", err)
		}
		_ = connection.Close()
	}
}
