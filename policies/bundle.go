package policies

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"sort"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// APIVersion is that of bundle.yaml and of exceptions.
const APIVersion = "policy.portcullis.dev/v1alpha1"

// Limits of a bundle. They keep a hostile or broken bundle from exhausting the
// process that loads it.
const (
	maxBundleFile  = 4 << 20  // bytes a file
	maxBundleBytes = 64 << 20 // bytes in all
	maxBundleFiles = 20_000
)

// Bundle is a policy bundle as read: checked on its own, not yet compiled.
type Bundle struct {
	Manifest Manifest
	// Policies are all policies of the bundle by id.
	Policies map[string]*Policy
	// Exceptions are sorted by name.
	Exceptions []Exception
	// Digest is "sha256:" and the hash of all files, names and contents.
	Digest string

	libraries map[string]*ast.Module // shared Rego by file
	data      map[string]any

	trust        *signer.Configuration
	exemptions   *scanner.Exemptions
	vex, ignores map[string][]byte // by file, until check
	cel          map[string]*CEL   // by file, until check
	foreign      bool              // it has policies for other tools beside its own
	included     map[string][]byte // files of the bundle it builds on
}

// Manifest is bundle.yaml.
type Manifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"` // "Bundle"
	Name       string `json:"name"`
	// Serial grows with every published revision and never decreases.
	Serial int64 `json:"serial"`
	// Include names a bundle that this one builds on, "library" for the built-in one: its
	// policies, shared code and data, and its profiles and namespaces where this bundle does not
	// have its own.
	Include string `json:"include,omitempty"`
	// Policies are configured in every profile.
	Policies []Instance `json:"policies,omitempty"`
	// Profiles are named sets of configured policies.
	Profiles []Profile `json:"profiles,omitempty"`
	// Namespaces assign profiles; the first entry that matches a namespace counts.
	Namespaces []Assignment `json:"namespaces,omitempty"`
	// DefaultProfile is for cluster-scoped objects and for namespaces that no entry
	// matches. Required when there are profiles.
	DefaultProfile string `json:"defaultProfile,omitempty"`
	// ProfileLabel is a namespace label that names the profile before Namespaces is
	// asked. It is refused unless namespaces/protected-labels is enforced in every
	// profile, since whoever may edit the label chooses the rules.
	ProfileLabel string `json:"profileLabel,omitempty"`
	// Trust says who may sign, attest and scan which images.
	Trust *signer.Trust `json:"trust,omitempty"`
	// ExceptionsFrom says which exceptions of the cluster (PolicyException) it takes; none without it.
	ExceptionsFrom *ExceptionRules `json:"exceptionsFrom,omitempty"`
	// PodSecurityLabels honours the labels pod-security.kubernetes.io/enforce, warn and audit of namespaces, in every profile
	// and beside what it configures. Versions in labels are not looked at: the latest counts.
	PodSecurityLabels bool `json:"podSecurityLabels,omitempty"`
	// Response says how far the responses of its policies to events go; without it they are only recorded.
	Response *response.Settings `json:"response,omitempty"`
}

// Profile is a named set of configured policies.
type Profile struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Extends names a profile whose instances this one starts from; an instance of
	// the same name replaces the inherited one.
	Extends string `json:"extends,omitempty"`
	// AtMost softens inherited instances: none enforces more than this.
	AtMost   Enforcement `json:"atMost,omitempty"`
	Policies []Instance  `json:"policies,omitempty"`
}

// Assignment gives the namespaces whose name matches one of the globs a profile.
type Assignment struct {
	Match   []string `json:"match"`
	Profile string   `json:"profile"`
}

// Instance is one policy configured for use.
type Instance struct {
	// Policy is the policy's id: "pods/privileged".
	Policy string `json:"policy"`
	// Name tells instances of one policy apart; the policy's id by default.
	Name        string         `json:"name,omitempty"`
	Enforcement Enforcement    `json:"enforcement,omitempty"`
	Ramp        *Ramp          `json:"ramp,omitempty"`
	FailMode    FailMode       `json:"failMode,omitempty"`
	Match       *Match         `json:"match,omitempty"`
	Parameters  map[string]any `json:"parameters,omitempty"`
}

// Match narrows an instance to some of the requests its policy is about. All
// fields that are given must match; lists are alternatives. Names are globs.
type Match struct {
	Namespaces        []string              `json:"namespaces,omitempty"`
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// ObjectSelector matches labels of the object or, on UPDATE, of the old object:
	// relabelling is no way out.
	ObjectSelector  *metav1.LabelSelector `json:"objectSelector,omitempty"`
	Kinds           []string              `json:"kinds,omitempty"` // Kind or group/Kind
	Platforms       []string              `json:"platforms,omitempty"`
	Operations      []string              `json:"operations,omitempty"`
	Users           []string              `json:"users,omitempty"`
	Groups          []string              `json:"groups,omitempty"`
	ServiceAccounts []string              `json:"serviceAccounts,omitempty"` // namespace/name
	Exclude         *Exclusion            `json:"exclude,omitempty"`
}

// Exclusion takes requests out of a Match: a request that matches any field is
// not judged by the instance.
type Exclusion struct {
	Namespaces      []string `json:"namespaces,omitempty"`
	Kinds           []string `json:"kinds,omitempty"`
	Users           []string `json:"users,omitempty"`
	Groups          []string `json:"groups,omitempty"`
	ServiceAccounts []string `json:"serviceAccounts,omitempty"`
}

// Load reads a bundle. Every mistake in it is reported at once: an unknown field,
// policy, parameter or profile refuses the whole bundle, since a rule that is
// silently not applied is a hole.
//
// The bundles that it may include are given by whoever loads it.
func Load(fsys fs.FS, available ...Included) (*Bundle, error) {
	files, included, err := readIncluding(fsys, available)
	if err != nil {
		return nil, err
	}
	bundle := &Bundle{
		Policies:  map[string]*Policy{},
		Digest:    digestIncluding(files, included),
		libraries: map[string]*ast.Module{},
		data:      map[string]any{},
		vex:       map[string][]byte{},
		ignores:   map[string][]byte{},
		cel:       map[string]*CEL{},
		foreign:   foreign(fsys),
	}
	below, err := includedManifest(included)
	if err != nil {
		return nil, err
	}
	for name, content := range included {
		if name != "bundle.yaml" {
			files[name] = content
		}
	}
	bundle.included = included
	names := sortedKeys(files)
	modules := parseModules(names, files)
	var problems []error
	for _, name := range names {
		if err := bundle.add(name, files[name], modules[name]); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
	}
	problems = append(problems, extensions(modules, included)...)
	if bundle.Manifest.Name == "" && len(problems) == 0 {
		problems = append(problems, errors.New("bundle.yaml is missing: a bundle needs one that names it and configures its policies"))
	}
	if below != nil {
		bundle.Manifest.include(below)
	}
	if len(problems) == 0 {
		problems = bundle.check()
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("loading the bundle: %w", errors.Join(problems...))
	}
	return bundle, nil
}

// digestIncluding covers what a bundle includes, too.
func digestIncluding(files, included map[string][]byte) string {
	if included == nil {
		return digestFiles(files)
	}
	all := maps.Clone(files)
	all["\x00included"] = []byte(digestFiles(included))
	return digestFiles(all)
}

// includedManifest reads bundle.yaml of an included bundle, nil where there is none.
func includedManifest(included map[string][]byte) (*Manifest, error) {
	if included == nil {
		return nil, nil
	}
	var manifest Manifest
	if err := decodeYAML(included["bundle.yaml"], &manifest); err != nil {
		return nil, fmt.Errorf("reading the manifest of the included bundle: %w", err)
	}
	if manifest.Include != "" {
		return nil, errors.New("reading the manifest of the included bundle: it includes another one: one level is enough")
	}
	return &manifest, nil
}

// Revision names the bundle in findings: "name@serial (sha256:0123456789ab)".
func (b *Bundle) Revision() string {
	return fmt.Sprintf("%s@%d (%.19s)", b.Manifest.Name, b.Manifest.Serial, b.Digest)
}

func readBundleFiles(fsys fs.FS) (map[string][]byte, error) {
	files := map[string][]byte{}
	total := 0
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if slices.Contains(foreignFolders, name) {
				return fs.SkipDir
			}
			if base := path.Base(name); base == "testdata" || (strings.HasPrefix(base, ".") && name != ".") {
				return fs.SkipDir
			}
			return nil
		}
		if !bundleFile(name) {
			return refuseLinkedFolder(fsys, name, entry)
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is not a regular file: a bundle holds no links or devices", name)
		}
		if info.Size() > maxBundleFile {
			return fmt.Errorf("%s has %d bytes, more than the %d a bundle file may have", name, info.Size(), maxBundleFile)
		}
		content, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		if total += len(content); total > maxBundleBytes || len(files) >= maxBundleFiles {
			return fmt.Errorf("the bundle is larger than %d files or %d bytes", maxBundleFiles, maxBundleBytes)
		}
		files[name] = content
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	return files, nil
}

// foreignFolders hold policies written for other tools. They are compile units of their own: what is in them is read by
// whoever runs it, and no part of this one.
var foreignFolders = []string{"gatekeeper", "conftest"}

// foreign says whether a bundle has policies for other tools, which may be all it has.
func foreign(fsys fs.FS) bool {
	return slices.ContainsFunc(foreignFolders, func(folder string) bool {
		info, err := fs.Stat(fsys, folder)
		return err == nil && info.IsDir()
	})
}

// isForeign says whether a policy is one for another tool of which the bundle has some: "gatekeeper/k8srequiredlabels".
func (b *Bundle) isForeign(policy string) bool {
	folder, _, nested := strings.Cut(policy, "/")
	return b.foreign && nested && slices.Contains(foreignFolders, folder)
}

// refuseLinkedFolder keeps a folder that is a link from being passed over with the
// policies in it.
func refuseLinkedFolder(fsys fs.FS, name string, entry fs.DirEntry) error {
	if entry.Type()&fs.ModeSymlink == 0 || strings.HasPrefix(path.Base(name), ".") {
		return nil
	}
	if info, err := fs.Stat(fsys, name); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a link to a folder: a bundle holds no links", name)
	}
	return nil
}

// bundleFile says whether a file takes part in a bundle. Documentation may lie
// beside it.
func bundleFile(name string) bool {
	switch path.Ext(name) {
	case ".rego", ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// digestFiles hashes names and contents, each with its length in front so that no
// two different bundles give the same stream.
func digestFiles(files map[string][]byte) string {
	hash := sha256.New()
	var length [8]byte
	write := func(b []byte) {
		binary.BigEndian.PutUint64(length[:], uint64(len(b)))
		hash.Write(length[:])
		hash.Write(b)
	}
	for _, name := range sortedKeys(files) {
		write([]byte(name))
		write(files[name])
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil))
}

func (b *Bundle) add(name string, content []byte, parsed *parsedModule) error {
	top, _, nested := strings.Cut(name, "/")
	switch {
	case name == "bundle.yaml":
		return b.addManifest(content)
	case isTestFile(name):
		return nil // run by "portcullis policy test", never by the engine
	case strings.HasSuffix(name, ".rego"):
		return b.addModule(name, parsed)
	case nested && top == "data":
		return b.addData(strings.TrimPrefix(name, "data/"), content)
	case strings.HasSuffix(name, celSuffix):
		var err error
		b.cel[name], err = parseCEL(content)
		return err
	case nested && top == "exceptions":
		return b.addException(content)
	case nested && top == "vex":
		b.vex[name] = content
		return nil
	case nested && top == "ignores":
		b.ignores[name] = content
		return nil
	case nested && (top == "tests"):
		return nil
	}
	return errors.New("the file has no place in a bundle: expected bundle.yaml, *.rego, *.cel.yaml beside a policy, data/, exceptions/, ignores/, vex/ or tests/")
}

// isTestFile says that a file is run by "portcullis policy test", never by the engine.
func isTestFile(name string) bool { return strings.HasSuffix(name, "_test.rego") }

func (b *Bundle) addManifest(content []byte) error {
	if err := decodeYAML(content, &b.Manifest); err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	m := &b.Manifest
	switch {
	case m.APIVersion != APIVersion || m.Kind != "Bundle":
		return fmt.Errorf("apiVersion and kind are %q, %q: want %q, %q", m.APIVersion, m.Kind, APIVersion, "Bundle")
	case m.Name == "":
		return errors.New("name is missing")
	case m.Serial < 1:
		return fmt.Errorf("serial is %d: it must be at least 1 and grow with each revision", m.Serial)
	}
	return nil
}

// parsedModule is a Rego file as read: a library, a policy or neither for an error.
type parsedModule struct {
	library *ast.Module
	policy  *Policy
	err     error
}

// parseModules parses all Rego files at once: that is half of the time a bundle takes
// to load, and no file needs another one.
func parseModules(names []string, files map[string][]byte) map[string]*parsedModule {
	modules := map[string]*parsedModule{}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, name := range names {
		if path.Ext(name) != ".rego" || isTestFile(name) {
			continue
		}
		parsed := &parsedModule{}
		modules[name] = parsed
		group.Go(func() error {
			parsed.parse(name, files[name])
			return nil // errors stay with their files
		})
	}
	_ = group.Wait()
	return modules
}

// module is what was parsed, nil where that failed.
func (m *parsedModule) module() *ast.Module {
	switch {
	case m == nil || m.err != nil:
		return nil
	case m.library != nil:
		return m.library
	}
	return m.policy.module
}

func (m *parsedModule) parse(name string, content []byte) {
	module, err := parseModule(name, string(content))
	switch {
	case err != nil:
		m.err = err
	case isLibrary(module):
		m.library = module
	default:
		m.policy, m.err = newPolicy(name, module)
	}
}

func (b *Bundle) addModule(name string, parsed *parsedModule) error {
	if parsed.err != nil {
		return parsed.err
	}
	if parsed.library != nil {
		b.libraries[name] = parsed.library
		return nil
	}
	policy := parsed.policy
	if other, taken := b.Policies[policy.ID]; taken {
		return fmt.Errorf("policy %s is defined in %s too: keep a policy in one file", policy.ID, other.File)
	}
	b.Policies[policy.ID] = policy
	return nil
}

// addData puts data/a/b.yaml at data.a.b. The name portcullis is kept for policies.
func (b *Bundle) addData(name string, content []byte) error {
	var value any
	if err := decodeYAML(content, &value); err != nil {
		return fmt.Errorf("reading data: %w", err)
	}
	segments := strings.Split(strings.TrimSuffix(name, path.Ext(name)), "/")
	if segments[0] == "portcullis" {
		return errors.New("data.portcullis is where policies live: rename the file")
	}
	node := b.data
	for _, segment := range segments[:len(segments)-1] {
		child, ok := node[segment].(map[string]any)
		if !ok {
			if _, taken := node[segment]; taken {
				return fmt.Errorf("data.%s is both a value and a folder", segment)
			}
			child = map[string]any{}
			node[segment] = child
		}
		node = child
	}
	last := segments[len(segments)-1]
	if _, taken := node[last]; taken {
		return fmt.Errorf("data.%s is defined twice", strings.Join(segments, "."))
	}
	node[last] = value
	return nil
}

func (b *Bundle) addException(content []byte) error {
	exception, err := parseException(content)
	if err != nil {
		return err
	}
	b.Exceptions = append(b.Exceptions, exception)
	slices.SortStableFunc(b.Exceptions, func(x, y Exception) int { return strings.Compare(x.Name, y.Name) })
	return nil
}

// check reports what only the bundle as a whole can show.
func (b *Bundle) check() []error {
	var problems []error
	report := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	problems = append(problems, b.compileTrust()...)
	problems = append(problems, b.attachCEL()...)
	problems = append(problems, b.Manifest.ExceptionsFrom.compile()...)
	problems = append(problems, b.Manifest.compileRamps()...)
	problems = append(problems, b.checkPodSecurity()...)
	problems = append(problems, b.Manifest.checkResponse()...)
	profiles, err := b.resolveProfiles()
	if err != nil {
		return append(problems, err)
	}
	for _, profile := range sortedKeys(profiles) {
		for _, instance := range profiles[profile] {
			policy, ok := b.Policies[instance.Policy]
			if !ok {
				report("profile %q: there is no policy %q: correct the name in bundle.yaml", profile, instance.Policy)
				continue
			}
			if _, err := policy.parameters(instance.Parameters); err != nil {
				report("profile %q: policy %s: %w", profile, instance.Name, err)
			}
			if _, err := compileMatch(instance.Match); err != nil {
				report("profile %q: policy %s: match: %w", profile, instance.Name, err)
			}
			if instance.Match != nil {
				if err := policy.Subject.checkKinds(instance.Match.Kinds); err != nil {
					report("profile %q: policy %s: match: %w", profile, instance.Name, err)
				}
			}
		}
	}
	for _, instance := range b.Manifest.turnedOff() {
		if b.Policies[instance.Policy] == nil {
			report("%s is off, but there is no policy %q: correct the name in bundle.yaml, or leave it out", instance.name(), instance.Policy)
		}
	}
	if !b.Manifest.configures() && !b.foreign && !b.Manifest.PodSecurityLabels {
		report("bundle.yaml configures no policy, so that everything would be allowed: name some, like policies: [{policy: %s}]", b.somePolicy())
	}
	for i, assignment := range b.Manifest.Namespaces {
		if _, ok := profiles[assignment.Profile]; !ok {
			report("namespaces[%d]: there is no profile %q", i, assignment.Profile)
		}
		if len(assignment.Match) == 0 {
			report("namespaces[%d]: match needs at least one glob of namespace names", i)
		}
		if _, err := compileGlobs(assignment.Match); err != nil {
			report("namespaces[%d]: match: %w", i, err)
		}
	}
	if _, ok := profiles[b.Manifest.DefaultProfile]; !ok && (len(b.Manifest.Profiles) > 0 || b.Manifest.DefaultProfile != "") {
		report("defaultProfile %q is not a profile of this bundle (%s)", b.Manifest.DefaultProfile, strings.Join(sortedKeys(profiles), ", "))
	}
	names := map[string]bool{}
	for _, exception := range b.Exceptions {
		policy, ok := b.Policies[exception.Policy]
		switch {
		case !ok && b.isForeign(exception.Policy): // whoever runs it knows its policies
		case !ok:
			report("exception %q: there is no policy %q in this bundle, and it cannot waive findings of another one", exception.Name, exception.Policy)
		default:
			if err := policy.Subject.checkKinds(exception.Selector.Kinds); err != nil {
				report("exception %q: selector.%w", exception.Name, err)
			}
		}
		if names[exception.Name] {
			report("exception %q is defined twice: each needs a name of its own", exception.Name)
		}
		names[exception.Name] = true
	}
	if b.Manifest.ProfileLabel != "" {
		for _, profile := range sortedKeys(profiles) {
			if !b.guardsProfileLabel(profiles[profile]) {
				report("profileLabel %q: profile %q does not enforce %s for all requests with this label among its labels, so whoever may label a namespace could choose its rules", b.Manifest.ProfileLabel, profile, labelGuard)
			}
		}
	}
	return problems
}

// Profiles are the names of the bundle's profiles, sorted.
func (b *Bundle) Profiles() []string {
	if len(b.Manifest.Profiles) == 0 {
		return []string{noProfile}
	}
	var names []string
	for _, p := range b.Manifest.Profiles {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}

// compileTrust checks who is trusted with images, and what is said of single vulnerabilities.
func (b *Bundle) compileTrust() []error {
	var problems []error
	var err error
	if b.trust, err = signer.Compile(b.Manifest.Trust); err != nil {
		problems = append(problems, fmt.Errorf("trust: %w", err))
	}
	if b.exemptions, err = scanner.NewExemptions(b.vex, b.ignores); err != nil {
		problems = append(problems, err)
	}
	return problems
}

// Trust is the checked trust configuration of the bundle. One without any trusts nobody.
func (b *Bundle) Trust() *signer.Configuration { return b.trust }

// Exemptions are what the bundle says of single vulnerabilities.
func (b *Bundle) Exemptions() *scanner.Exemptions { return b.exemptions }

// turnedOff are the instances that say they are off, wherever they stand.
func (m *Manifest) turnedOff() []Instance {
	all := slices.Clone(m.Policies)
	for _, profile := range m.Profiles {
		all = append(all, profile.Policies...)
	}
	return slices.DeleteFunc(all, func(i Instance) bool { return i.Enforcement != EnforceOff })
}

// configures says whether the manifest configures any policy.
func (m *Manifest) configures() bool {
	return len(m.Policies) > 0 || slices.ContainsFunc(m.Profiles, func(p Profile) bool { return len(p.Policies) > 0 })
}

// somePolicy is a policy to show in an example.
func (b *Bundle) somePolicy() string {
	for _, id := range sortedKeys(b.Policies) {
		return id
	}
	return "pods/privileged"
}

// labelGuard is the policy that must protect a profile label.
const labelGuard = "namespaces/protected-labels"

// guardsProfileLabel says whether some instance of the guard applies to every request and
// has the profile label among the globs of its parameter labels.
func (b *Bundle) guardsProfileLabel(instances []Instance) bool {
	return slices.ContainsFunc(instances, func(i Instance) bool {
		policy := b.Policies[i.Policy]
		if i.Policy != labelGuard || policy == nil || i.Enforcement != EnforceDeny || i.FailMode != FailClosed || i.Match != nil {
			return false
		}
		values, err := policy.parameters(i.Parameters)
		if err != nil {
			return false
		}
		guarded, _ := values["labels"].([]any)
		return slices.ContainsFunc(guarded, func(pattern any) bool {
			text, _ := pattern.(string)
			compiled, err := compileGlobs([]string{text})
			return err == nil && compiled.match(b.Manifest.ProfileLabel)
		})
	})
}

// noProfile is the profile of a bundle that declares none.
const noProfile = "default"

// defaultProfile is the profile of what no assignment matches.
func (b *Bundle) defaultProfile() string {
	if len(b.Manifest.Profiles) == 0 {
		return noProfile
	}
	return b.Manifest.DefaultProfile
}

// resolveProfiles gives each profile's instances with inheritance applied, those
// that are off left out, sorted by name.
func (b *Bundle) resolveProfiles() (map[string][]Instance, error) {
	declared := map[string]Profile{}
	for _, profile := range b.Manifest.Profiles {
		if profile.Name == "" {
			return nil, errors.New("profiles: a profile has no name")
		}
		if _, twice := declared[profile.Name]; twice {
			return nil, fmt.Errorf("profiles: %q is declared twice", profile.Name)
		}
		declared[profile.Name] = profile
	}
	if len(declared) == 0 {
		declared[noProfile] = Profile{Name: noProfile}
	}
	resolved := map[string][]Instance{}
	for name := range declared {
		merged := map[string]Instance{}
		if err := mergeProfile(declared, name, b.Manifest.Policies, merged, nil); err != nil {
			return nil, err
		}
		instances := []Instance{}
		for _, key := range sortedKeys(merged) {
			if merged[key].Enforcement != EnforceOff {
				instances = append(instances, merged[key])
			}
		}
		resolved[name] = append(instances, b.podSecurityInstances(instances)...)
	}
	return resolved, nil
}

func mergeProfile(declared map[string]Profile, name string, base []Instance, into map[string]Instance, seen []string) error {
	if slices.Contains(seen, name) {
		return fmt.Errorf("profiles: %s extends itself", strings.Join(append(seen, name), " -> "))
	}
	profile, ok := declared[name]
	if !ok {
		return fmt.Errorf("profiles: %q extends %q, which does not exist", seen[len(seen)-1], name)
	}
	if profile.Extends != "" {
		if err := mergeProfile(declared, profile.Extends, base, into, append(seen, name)); err != nil {
			return err
		}
	} else if err := mergeInstances("policies", base, into); err != nil {
		return err
	}
	for inherited, instance := range into {
		instance.Enforcement = max(instance.Enforcement, profile.AtMost)
		into[inherited] = instance
	}
	return mergeInstances("profile "+name, profile.Policies, into)
}

func mergeInstances(where string, instances []Instance, into map[string]Instance) error {
	here := map[string]bool{}
	for _, instance := range instances {
		instance.Name = instance.name()
		if here[instance.Name] {
			return fmt.Errorf("%s: %s is configured twice: give the second a name of its own", where, instance.Name)
		}
		here[instance.Name] = true
		into[instance.Name] = instance
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

func lookup(what string, names []string, name string) (int, error) {
	if i := slices.Index(names, name); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%s %q is unknown: use one of %s", what, name, strings.Join(names, ", "))
}
