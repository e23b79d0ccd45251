package backup

import (
	"time"
)

// Version is that of the format. What is older is read, what is newer is refused.
const Version = 1

// The names of what is in an archive besides pages.
const (
	versionName  = "version"
	versionText  = "portcullis-backup "
	manifestName = "manifest.json"
	pagesFolder  = "objects/"
)

// Limits of an archive: what is beyond is refused, by who writes as by who reads.
const (
	// MaxObject is for one line: etcd takes 1.5 MiB (--max-request-bytes), and JSON with names and escapes is longer than what is stored.
	MaxObject = 4 << 20
	// MaxPage is for one page: twenty of the largest objects.
	MaxPage = 80 << 20
	// MaxManifest is for the manifest, which has some hundred bytes for each page.
	MaxManifest = 32 << 20
	// MaxPages of all kinds together.
	MaxPages = 100_000
	// MaxTotal is for all pages, unpacked: an etcd has 8 GiB (--quota-backend-bytes).
	MaxTotal = 16 << 30
)

// Manifest says what an archive holds.
type Manifest struct {
	// Program is the version of who wrote it, Taken when.
	Program string    `json:"program"`
	Taken   time.Time `json:"taken"`
	// Cluster is where it was taken.
	Cluster Cluster `json:"cluster"`
	// Kinds are in the order in which they were read.
	Kinds []Contents `json:"kinds"`
	// LeftOut is what is not in it, and why.
	LeftOut []LeftOut `json:"leftOut"`
	// Secrets are those that its objects name, which whoever restores it has to provide.
	Secrets []Reference `json:"secrets,omitempty"`
}

// Cluster tells clusters apart.
type Cluster struct {
	// ID is the UID of its namespace kube-system, "" where that could not be read. Server is the version of its API server.
	ID     string `json:"id,omitempty"`
	Server string `json:"server,omitempty"`
}

// Contents is what an archive holds of one kind.
type Contents struct {
	// Resource is RESOURCE.GROUP.
	Resource   string `json:"resource"`
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// ResourceVersion is at which the list was read, "" where the cluster does not know the kind.
	ResourceVersion string `json:"resourceVersion,omitempty"`
	Objects         int    `json:"objects"`
	// Deleting counts those that were being deleted, which are not in the archive.
	Deleting int    `json:"deleting,omitempty"`
	Pages    []Page `json:"pages,omitempty"`
}

// Page is one file of objects.
type Page struct {
	Name    string `json:"name"`
	Objects int    `json:"objects"`
	Size    int64  `json:"size"`   // bytes
	SHA256  string `json:"sha256"` // 64 hexadecimal digits
}

// Reference names a Secret, and who needs it: "PolicyBundle platform".
type Reference struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	For       string `json:"for"`
}

// Of is what an archive holds of a kind, nil for nothing.
func (m *Manifest) Of(kind *Kind) *Contents {
	for n := range m.Kinds {
		if m.Kinds[n].Resource == kind.Name() {
			return &m.Kinds[n]
		}
	}
	return nil
}

// Objects counts those of all kinds.
func (m *Manifest) Objects() (n int) {
	for _, kind := range m.Kinds {
		n += kind.Objects
	}
	return n
}
