// Package falcotest sends events as Falco's http_output does, for tests and for measuring: one at a time on one connection that stays open, each
// with the headers of Falco, and the next one when the one before is answered.
package falcotest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// patience is how long an answer is waited for. Falco waits without end.
const patience = 30 * time.Second

// Sensor is one Falco. It is not for use by several goroutines.
type Sensor struct {
	connection net.Conn
	answers    *bufio.Reader
	head       []byte
	request    []byte
}

// Dial connects to a receiver, over TLS unless config is nil. Events are posted to path.
func Dial(ctx context.Context, address, path string, config *tls.Config) (*Sensor, error) {
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connecting to the receiver: %w", err)
	}
	if config != nil {
		secured := tls.Client(connection, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("connecting to the receiver: %w", err), connection.Close())
		}
		connection = secured
	}
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: falcosecurity/falco\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: ", path, address)
	return &Sensor{connection: connection, answers: bufio.NewReader(connection), head: []byte(head)}, nil
}

// Close closes the connection.
func (s *Sensor) Close() error { return s.connection.Close() }

// Send posts one event and gives the status and the text of the answer.
func (s *Sensor) Send(event []byte) (status int, text string, err error) {
	s.request = append(s.request[:0], s.head...)
	s.request = strconv.AppendInt(s.request, int64(len(event)), 10)
	s.request = append(s.request, "\r\n\r\n"...)
	s.request = append(s.request, event...)
	if err := s.connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, "", fmt.Errorf("sending an event: %w", err)
	}
	if _, err := s.connection.Write(s.request); err != nil {
		return 0, "", fmt.Errorf("sending an event: %w", err)
	}
	status, text, err = s.answer()
	if err != nil {
		return 0, "", fmt.Errorf("reading the answer to an event: %w", err)
	}
	return status, text, nil
}

// answer reads an answer whose body has a length. It does without net/http, whose client takes more time than the receiver: Falco's is in C.
func (s *Sensor) answer() (status int, text string, err error) {
	line, err := s.answers.ReadSlice('\n')
	if err != nil {
		return 0, "", err
	}
	fields := bytes.Fields(line)
	if len(fields) < 2 {
		return 0, "", fmt.Errorf("the first line is %.100q", line)
	}
	if status, err = strconv.Atoi(string(fields[1])); err != nil {
		return 0, "", err
	}
	length := 0
	for {
		line, err := s.answers.ReadSlice('\n')
		if err != nil {
			return 0, "", err
		}
		name, value, ok := strings.Cut(strings.TrimSpace(string(line)), ":")
		if !ok {
			break
		}
		if strings.EqualFold(name, "Content-Length") {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return 0, "", err
			}
		}
	}
	body := make([]byte, length)
	_, err = io.ReadFull(s.answers, body)
	return status, strings.TrimSpace(string(body)), err
}

// Event is an event of a rule in a pod of a node, as Falco writes it with the pod's UID and the image's digest. Two with another number
// are two events.
func Event(rule, priority string, number int, at time.Time) []byte {
	return fmt.Appendf(nil, `{"hostname":"node-a","output":"%s: %s Shell spawned by an untrusted binary (user=root user_loginuid=-1 k8s.ns=shop k8s.pod=cart-7d9f container=3f1c0a9be8d2 `+
		`shell=sh parent=nginx cmdline=sh -c id terminal=0 container_id=3f1c0a9be8d2 container_image=docker.io/library/nginx)","priority":"%s","rule":"%s","source":"syscall",`+
		`"tags":["T1059","container","maturity_stable","mitre_execution","shell"],"time":"%s","output_fields":{"container.full_id":"3f1c0a9be8d2c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ff",`+
		`"container.host_network":false,"container.id":"3f1c0a9be8d2","container.image.digest":"sha256:0b970013351304af46f322da1263516b188318682b2ab1091862497591189ff1",`+
		`"container.image.repository":"docker.io/library/nginx","container.image.tag":"1.27","container.name":"cart","container.privileged":false,"evt.time":%d,"evt.type":"execve",`+
		`"k8s.ns.name":"shop","k8s.pod.name":"cart-7d9f","k8s.pod.uid":"0f6f6e1c-6a4b-4a3f-9a2b-1d2f3a4b5c6d","proc.cmdline":"sh -c id","proc.exepath":"/bin/sh","proc.name":"sh",`+
		`"proc.pid":%d,"proc.pname":"nginx","proc.tty":0,"user.loginuid":-1,"user.name":"root"}}`,
		at.UTC().Format("15:04:05.000000000"), priority, priority, rule, at.UTC().Format(time.RFC3339Nano), at.UnixNano(), number)
}
