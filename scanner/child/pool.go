package child

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/scanner"
)

// Defaults of [Options].
const (
	// DefaultMemory is enough for images of some gigabytes: the analysis of a 4 GB image with 3,000 packages stays below 1 GiB.
	DefaultMemory = 2 << 30
	// DefaultTimeout is for one image. The largest take a minute or two on one processor.
	DefaultTimeout = 10 * time.Minute
	// DefaultMaxFile is the largest file that a child may write: a layer's largest file, unpacked for the analysis.
	DefaultMaxFile = 4 << 30
	// DefaultMaxImages is after how many images a child is replaced, so that what one image left in its
	// memory does not stay for ever. A start costs a fifth of a second.
	DefaultMaxImages = 64
)

// Timeouts of what is no analysis.
const (
	helloTimeout = 30 * time.Second
	killGrace    = 5 * time.Second // for a child to notice its own timeout and say so
)

// Options of a [Pool]. Command and Directory are required.
type Options struct {
	// Command is the program and its arguments that run [Serve].
	Command []string
	// Directory is the parent's: it holds the folders of children and the cache of analyses. A child sees the cache, its own
	// folder and the image at hand of it, and nothing else.
	Directory string
	// Read are further folders that children may read: those of the databases.
	Read []string
	// Children is how many run at once; one by default.
	Children int
	// Memory is what a child may use in bytes, its code not counted.
	Memory int64
	// Timeout is for one image, in wall time and, with a child's share of the processors, in processor time.
	Timeout   time.Duration
	MaxFile   int64
	MaxImages int
	// RequireIsolation refuses to start children that could reach the network or read other files.
	RequireIsolation bool
	// Now is the clock, [time.Now] by default.
	Now func() time.Time
	Log *slog.Logger
}

// Pool starts children and hands them images, one at a time each. It is for use by several goroutines.
type Pool struct {
	options Options
	// idle holds a place for each child: a child that waits for an image, or nil for one to be started.
	idle   chan *process
	mu     sync.Mutex
	closed bool
	tool   scanner.Tool
	said   bool // what isolates the children
}

// NewPool makes the folders. Children are started when they are needed.
func NewPool(options Options) (*Pool, error) {
	if len(options.Command) == 0 || options.Directory == "" {
		return nil, errors.New("making a pool of scanner children: it needs a command and a directory")
	}
	setDefault(&options.Children, 1)
	setDefault(&options.Memory, DefaultMemory)
	setDefault(&options.Timeout, DefaultTimeout)
	setDefault(&options.MaxFile, DefaultMaxFile)
	setDefault(&options.MaxImages, DefaultMaxImages)
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	var err error
	if options.Directory, err = filepath.Abs(options.Directory); err != nil {
		return nil, fmt.Errorf("making a pool of scanner children: %w", err)
	}
	p := &Pool{options: options, idle: make(chan *process, options.Children)}
	for _, dir := range []string{p.temporary(), p.Cache()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making a pool of scanner children: %w", err)
		}
	}
	removeLeftovers(filepath.Join(p.temporary(), "child-*"))
	for range options.Children {
		p.idle <- nil
	}
	return p, nil
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

func (p *Pool) temporary() string { return filepath.Join(p.options.Directory, "tmp") }

// Cache is the folder for analyses of layers.
func (p *Pool) Cache() string { return filepath.Join(p.options.Directory, "analyses") }

// Tool is what children said that they are, zero before the first one started.
func (p *Pool) Tool() scanner.Tool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tool
}

// DeathError says that a child died or had to be killed. Another one is started for the next request.
type DeathError struct {
	// Reason is for people.
	Reason string
	// Output is the end of what the child wrote to standard error, for the log.
	Output string
}

func (e *DeathError) Error() string { return "the analysis ended before its time: " + e.Reason }

// Ask hands a request to a child and waits for a free one. Cache and Timeout are set where they are not. The errors are those
// that the child gives, and [*DeathError].
func (p *Pool) Ask(ctx context.Context, request Request) (Result, error) {
	var c *process
	select {
	case c = <-p.idle:
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	defer func() { p.idle <- c }()
	if c == nil {
		var err error
		if c, err = p.start(ctx); err != nil {
			return Result{}, err
		}
	}
	if request.Timeout <= 0 {
		request.Timeout = p.options.Timeout.Milliseconds()
	}
	if request.Cache == "" && request.Kind == Analyse {
		request.Cache = p.Cache()
	}
	request.ID = rand.Int64() // not to be guessed, so that nothing can be answered before it was asked
	result, err := c.ask(ctx, request)
	if death := (*DeathError)(nil); errors.As(err, &death) {
		p.options.Log.Warn("a scanner child died", "reason", death.Reason, "output", death.Output)
	}
	if c.dead() || c.answered >= p.options.MaxImages {
		c.end()
		c = nil
	}
	return result, err
}

// SelfTest asks a child whether it flags a known-bad image, and whether it can use a database. Without it nothing that
// children report may be believed.
func (p *Pool) SelfTest(ctx context.Context, database Database) error {
	if _, err := p.Ask(ctx, Request{Kind: SelfTest, Database: database.Directory, JavaDatabase: database.JavaDirectory}); err != nil {
		return fmt.Errorf("testing the scanner on a known-bad image: %w", err)
	}
	return nil
}

// start starts a child and notes what it is.
func (p *Pool) start(ctx context.Context) (*process, error) {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return nil, errors.New("starting a scanner child: the pool is closed")
	}
	c, isolation, err := startProcess(ctx, &p.options, p.temporary())
	if err != nil {
		return nil, fmt.Errorf("starting a scanner child: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tool = c.hello.Tool
	if !p.said {
		p.said = true
		if len(isolation.Missing) == 0 {
			p.options.Log.Info("scanner children reach no network and no files but theirs")
		}
		for _, missing := range isolation.Missing {
			p.options.Log.Warn("scanner children are not fully isolated", "missing", missing)
		}
	}
	return c, nil
}

// Close ends all children and removes their temporary folders. It waits for those that are at work.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	for range p.options.Children {
		if c := <-p.idle; c != nil {
			c.end()
		}
	}
	for range p.options.Children {
		p.idle <- nil
	}
}
