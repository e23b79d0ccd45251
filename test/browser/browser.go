// Package browser drives a real Chromium for tests, by the Chrome DevTools Protocol (https://chromedevtools.github.io/devtools-protocol/). It knows just
// what pages of the console are tested with: to go somewhere, to type and to press, to read what is there, to take a picture, and to hear of all that the
// browser complains about.
package browser

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/websocket"
)

// Find is where Chromium is, "" where there is none.
func Find() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// Browser is one browser with one page.
type Browser struct {
	command *exec.Cmd
	socket  *websocket.Conn
	session string // of the page

	mu         sync.Mutex
	next       int
	waiting    map[int]chan answer
	loads      int
	complaints []string
	broken     error
}

type answer struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// startTimeout is for a machine that does much else.
const startTimeout = 90 * time.Second

// flags keep it from asking anybody but the pages that it is told to open.
var flags = []string{
	"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
	"--disable-dev-shm-usage", "--remote-debugging-port=0", "--remote-allow-origins=http://127.0.0.1", "--ignore-certificate-errors", "--hide-scrollbars", "about:blank",
}

// Start starts one whose profile is in dir, which must be new and empty.
func Start(ctx context.Context, path, dir string) (*Browser, error) {
	b := &Browser{command: exec.Command(path, append([]string{"--user-data-dir=" + dir}, flags...)...), waiting: map[int]chan answer{}}
	if err := b.command.Start(); err != nil {
		return nil, fmt.Errorf("starting a browser: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := b.connect(ctx, filepath.Join(dir, "DevToolsActivePort")); err != nil {
		b.Close()
		return nil, fmt.Errorf("starting a browser: %w", err)
	}
	return b, nil
}

// connect waits for the file with port and path, and attaches to the page.
func (b *Browser) connect(ctx context.Context, file string) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	var lines []string
	for len(lines) < 2 {
		select {
		case <-ctx.Done():
			return errors.New("it does not listen")
		case <-ticker.C:
			content, _ := os.ReadFile(file) //nolint:errcheck // it is not there yet
			lines = strings.Fields(string(content))
		}
	}
	socket, err := websocket.Dial("ws://127.0.0.1:"+lines[0]+lines[1], "", "http://127.0.0.1")
	if err != nil {
		return err
	}
	socket.MaxPayloadBytes = 64 << 20
	b.socket = socket
	go b.listen()
	var targets struct {
		TargetInfos []struct{ TargetID, Type string }
	}
	if err := b.call(ctx, "", "Target.getTargets", nil, &targets); err != nil {
		return err
	}
	for _, target := range targets.TargetInfos {
		if target.Type != "page" {
			continue
		}
		var attached struct{ SessionID string }
		if err := b.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
			return err
		}
		b.session = attached.SessionID
		for _, domain := range []string{"Page", "Runtime", "Log", "Audits", "Network"} {
			if err := b.Do(ctx, domain+".enable", nil, nil); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.New("it has no page")
}

// listen takes answers to whoever waits, and notes complaints.
func (b *Browser) listen() {
	for {
		var one answer
		if err := websocket.JSON.Receive(b.socket, &one); err != nil {
			b.mu.Lock()
			b.broken = err
			for id, waiting := range b.waiting {
				close(waiting)
				delete(b.waiting, id)
			}
			b.mu.Unlock()
			return
		}
		b.mu.Lock()
		if waiting := b.waiting[one.ID]; one.ID != 0 && waiting != nil {
			waiting <- one
			delete(b.waiting, one.ID)
		}
		b.note(&one)
		b.mu.Unlock()
	}
}

// note keeps what the browser complains about: violations of the content security policy, errors of scripts, what the console of the page says.
func (b *Browser) note(event *answer) {
	switch event.Method {
	case "Page.loadEventFired":
		b.loads++
	case "Runtime.exceptionThrown", "Audits.issueAdded", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening":
		b.complaints = append(b.complaints, event.Method+" "+string(event.Params))
	case "Log.entryAdded":
		// A page that is refused (403) is in the log of the browser, too; that is for the tests to look at.
		if !strings.Contains(string(event.Params), `"source":"network"`) {
			b.complaints = append(b.complaints, event.Method+" "+string(event.Params))
		}
	}
}

// Complaints are those since the last call.
func (b *Browser) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	complaints := b.complaints
	b.complaints = nil
	return complaints
}

// Do calls a method of the protocol on the page.
func (b *Browser) Do(ctx context.Context, method string, params, result any) error {
	return b.call(ctx, b.session, method, params, result)
}

func (b *Browser) call(ctx context.Context, session, method string, params, result any) error {
	b.mu.Lock()
	if b.broken != nil {
		b.mu.Unlock()
		return fmt.Errorf("calling %s: the browser is gone: %w", method, b.broken)
	}
	b.next++
	id, waiting := b.next, make(chan answer, 1)
	b.waiting[id] = waiting
	message := map[string]any{"id": id, "method": method}
	if params != nil {
		message["params"] = params
	}
	if session != "" {
		message["sessionId"] = session
	}
	err := websocket.JSON.Send(b.socket, message)
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("calling %s: %w", method, err)
	}
	select {
	case one, ok := <-waiting:
		switch {
		case !ok:
			return fmt.Errorf("calling %s: the browser is gone", method)
		case one.Error != nil:
			return fmt.Errorf("calling %s: %s", method, one.Error.Message)
		case result == nil:
			return nil
		}
		return json.Unmarshal(one.Result, result)
	case <-ctx.Done():
		return fmt.Errorf("calling %s: %w", method, ctx.Err())
	}
}

// Open goes to an address and waits until the page is loaded.
func (b *Browser) Open(ctx context.Context, address string) error {
	return b.Loading(ctx, func() error {
		var went struct{ ErrorText string }
		if err := b.Do(ctx, "Page.navigate", map[string]any{"url": address}, &went); err != nil {
			return err
		}
		if went.ErrorText != "" {
			return fmt.Errorf("opening %s: %s", address, went.ErrorText)
		}
		return nil
	})
}

// Loading does something that loads a page, and waits for it.
func (b *Browser) Loading(ctx context.Context, what func() error) error {
	b.mu.Lock()
	before := b.loads
	b.mu.Unlock()
	if err := what(); err != nil {
		return err
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		b.mu.Lock()
		loaded := b.loads > before
		b.mu.Unlock()
		if loaded {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for a page: %w", ctx.Err())
		case <-ticker.C:
		}
	}
}

// Evaluate runs a script in the page, as a user of the developer tools can, and decodes what it gives.
func (b *Browser) Evaluate(ctx context.Context, script string, into any) error {
	var outcome struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	if err := b.Do(ctx, "Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true, "awaitPromise": true}, &outcome); err != nil {
		return err
	}
	if outcome.ExceptionDetails != nil {
		return fmt.Errorf("evaluating %s: %s %s", script, outcome.ExceptionDetails.Text, outcome.ExceptionDetails.Exception.Description)
	}
	if into == nil || len(outcome.Result.Value) == 0 {
		return nil
	}
	return json.Unmarshal(outcome.Result.Value, into)
}

// Text is what a person sees of the page, and what only a screen reader says.
func (b *Browser) Text(ctx context.Context) (string, error) {
	var text string
	err := b.Evaluate(ctx, "document.body.textContent", &text)
	return text, err
}

// Press sends a key to what has the focus: "Tab", "Enter".
func (b *Browser) Press(ctx context.Context, key string) error {
	codes := map[string]int{"Tab": 9, "Enter": 13}
	text := ""
	if key == "Enter" {
		text = "\r"
	}
	for _, kind := range []string{"keyDown", "keyUp"} {
		params := map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
		if kind == "keyDown" && text != "" {
			params["text"] = text
		}
		if err := b.Do(ctx, "Input.dispatchKeyEvent", params, nil); err != nil {
			return err
		}
	}
	return nil
}

// Type writes into what has the focus.
func (b *Browser) Type(ctx context.Context, text string) error {
	return b.Do(ctx, "Input.insertText", map[string]any{"text": text}, nil)
}

// Look sets the size of the window in CSS pixels, and the colours that the user prefers: light or dark.
func (b *Browser) Look(ctx context.Context, width, height int, colours string) error {
	if err := b.Do(ctx, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil); err != nil {
		return err
	}
	return b.Do(ctx, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": colours}, {"name": "prefers-reduced-motion", "value": "reduce"}}}, nil)
}

// Picture is what the window shows, as PNG.
func (b *Browser) Picture(ctx context.Context) ([]byte, error) {
	var picture struct{ Data string }
	if err := b.Do(ctx, "Page.captureScreenshot", map[string]any{"format": "png", "optimizeForSpeed": false}, &picture); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(picture.Data)
}

// closeTimeout is for a browser to end by itself, with all its processes.
const closeTimeout = 10 * time.Second

// Close ends it.
func (b *Browser) Close() {
	if b.socket != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = b.call(ctx, "", "Browser.close", nil, nil) // else it is killed
		defer b.socket.Close()
	}
	killer := time.AfterFunc(closeTimeout, func() { _ = b.command.Process.Kill() })
	defer killer.Stop()
	if b.socket == nil {
		_ = b.command.Process.Kill()
	}
	_ = b.command.Wait() // how it ended says nothing
}
