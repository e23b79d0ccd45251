package supportbundle

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Bounds of a bundle, in bytes before it is compressed.
const (
	// MaxFile is for one file: what is longer is cut, logs at their beginning.
	MaxFile = 4 << 20
	// MaxTotal is for all of them: what comes after it is left out.
	MaxTotal = 96 << 20
	// maxLog is asked of one container's log.
	maxLog = 2 << 20
)

// Options of a bundle.
type Options struct {
	// Since limits logs to this time, at least a second.
	Since time.Duration
	// Version is that of the program that makes it.
	Version string
	// Extra are files that somebody else has made, by name: what the doctor says.
	Extra []File
}

// File is one file of the archive.
type File struct {
	Name    string
	About   string
	Content []byte
}

// Bundle is what was gathered.
type Bundle struct {
	// Files are sorted by name, the index first.
	Files []File
	// LeftOut says what is not inside.
	LeftOut []LeftOut
}

// LeftOut is something that is not in the bundle.
type LeftOut struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// piece is one file to be.
type piece struct {
	name, about string
	take        func(context.Context) ([]byte, error)
	// newest says that the end matters where it is cut.
	newest bool
}

// never are what no bundle has.
var never = []LeftOut{
	{"Secrets", "they are never read"},
	{"ConfigMaps", "they are never read: people keep credentials there"},
	{"VaultLeases", "they hold tokens, though encrypted: never read"},
	{"QuarantineEvidences", "they hold what suspects have done, logs included: never read"},
	{"values of environment variables", "replaced by [redacted]; names and references stay"},
	{"values of annotations", "replaced by [redacted], but for those of Kubernetes and Portcullis that hold no secret"},
	{"data of PolicyRevisions", "bundles are large, and belong to their source: their digests are in the PolicyBundles"},
}

// Plan lists what a bundle would take, sorted by name.
func Plan(ctx context.Context, at *installation.Installation, options Options) ([]File, []LeftOut, error) {
	g := &gatherer{at: at, options: options}
	pieces := g.pieces(ctx)
	files := make([]File, 0, len(pieces))
	for _, p := range pieces {
		files = append(files, File{Name: p.name, About: p.about})
	}
	for _, extra := range options.Extra {
		files = append(files, File{Name: extra.Name, About: extra.About})
	}
	slices.SortFunc(files, byName)
	return files, slices.Concat(never, g.left), ctx.Err()
}

func byName(a, b File) int { return strings.Compare(a.Name, b.Name) }

// Gather makes a bundle. What cannot be had is left out, and said to be.
func Gather(ctx context.Context, at *installation.Installation, options Options) (*Bundle, error) {
	g := &gatherer{at: at, options: options}
	files := slices.Clone(options.Extra)
	for n := range files {
		files[n].Content = g.clean.text(files[n].Content)
	}
	for _, p := range g.pieces(ctx) {
		content, err := p.take(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			g.leave(p.name, reason(err))
			continue
		case len(content) > MaxFile:
			g.leave(p.name, fmt.Sprintf("%d of %d bytes: it is cut at %d", len(content)-MaxFile, len(content), MaxFile))
			content = bounded(content, p.newest)
		}
		files = append(files, File{p.name, p.about, content})
	}
	slices.SortStableFunc(files, byName)
	return g.finish(files)
}

// bounded is the part of a file that is kept.
func bounded(content []byte, newest bool) []byte {
	if newest {
		return content[len(content)-MaxFile:]
	}
	return content[:MaxFile]
}

// gatherer makes one bundle.
type gatherer struct {
	at      *installation.Installation
	options Options
	clean   cleaner
	left    []LeftOut
}

func (g *gatherer) leave(what, why string) { g.left = append(g.left, LeftOut{what, why}) }

// finish takes credentials that were found in one file out of all others, drops what is too much, and writes the index.
func (g *gatherer) finish(files []File) (*Bundle, error) {
	bundle := &Bundle{}
	total := 0
	for _, file := range files {
		file.Content = g.clean.scrub(file.Content)
		if total+len(file.Content) > MaxTotal {
			g.leave(file.Name, fmt.Sprintf("the bundle has %d bytes already, and the limit is %d", total, MaxTotal))
			continue
		}
		total += len(file.Content)
		bundle.Files = append(bundle.Files, file)
	}
	bundle.LeftOut = slices.Concat(never, g.left)
	index, err := g.index(bundle)
	if err != nil {
		return nil, err
	}
	bundle.Files = append([]File{*index}, bundle.Files...)
	return bundle, nil
}

// index is the first file: what is inside, what was left out, and why.
func (g *gatherer) index(bundle *Bundle) (*File, error) {
	type inside struct {
		Name  string `json:"name"`
		Bytes int    `json:"bytes"`
		About string `json:"about"`
	}
	index := struct {
		Made      time.Time `json:"made"`
		By        string    `json:"by"`
		Cluster   string    `json:"cluster"`
		Namespace string    `json:"namespace"`
		Logs      string    `json:"logsOfTheLast"`
		Redacted  int       `json:"valuesReplaced"`
		Warning   string    `json:"readThis"`
		Files     []inside  `json:"files"`
		LeftOut   []LeftOut `json:"leftOut"`
	}{
		Made: g.at.Now().UTC().Truncate(time.Second), By: "portcullis " + g.options.Version, Cluster: g.at.Config.Host, Namespace: g.at.Namespace, Logs: g.options.Since.String(),
		Redacted: g.clean.replaced,
		Warning:  "Look through it before you give it away. Credentials in known places were replaced; nobody can know a password that is called nothing of the kind. Names of namespaces, workloads, images and users are inside.",
		LeftOut:  bundle.LeftOut,
	}
	for _, file := range bundle.Files {
		index.Files = append(index.Files, inside{file.Name, len(file.Content), file.About})
	}
	written, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the index: %w", err)
	}
	return &File{Name: IndexName, About: "what is inside, what was left out, and why", Content: append(written, '\n')}, nil
}

// IndexName is the first file of a bundle.
const IndexName = "index.json"

// reason is an error for the index.
func reason(err error) string {
	if apierrors.IsForbidden(err) {
		return "you may not read it: portcullis doctor --print-roles prints the roles that may"
	}
	if apierrors.IsNotFound(err) {
		return "the cluster does not have it"
	}
	return err.Error()
}
