package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/admission/proposals/ownership"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/cluster"
)

// What exceptions are written as.
const (
	exceptionsOfCluster = "cluster" // PolicyException objects
	exceptionsOfBundle  = "bundle"  // files for the folder exceptions of a bundle
)

// maxExceptionLifetime is the longest time that --expires takes: ten years are for ever.
const maxExceptionLifetime = 3653 * 24 * time.Hour

// auditExceptionFlags say which exceptions are written.
type auditExceptionFlags struct {
	file, expires, owner, ticket string
	as, namespace                string

	until func(now time.Time) time.Time
}

func (f *auditExceptionFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "write-exceptions", "", "write exceptions that waive today's findings into this `file`, or one by one into this directory (a name that ends with /)")
	flags.StringVar(&f.expires, "expires", "30d", "when written exceptions end: after a `time`, as 30d or 36h, or on a day, as 2027-01-31")
	flags.StringVar(&f.owner, "owner", "", "`who` answers for written exceptions; required with --write-exceptions")
	flags.StringVar(&f.ticket, "ticket", "", "`reference` that the reason of written exceptions names")
	flags.StringVar(&f.as, "exceptions-as", exceptionsOfCluster, "write PolicyException objects for a `cluster`, or files for the folder exceptions of a bundle")
	flags.StringVar(&f.namespace, "exceptions-namespace", "", "`namespace` of all written PolicyExceptions (default: that of the object, and portcullis-system for Namespaces and what is in none)")
}

func (f *auditExceptionFlags) check() error {
	if f.file == "" {
		if f.owner != "" || f.ticket != "" || f.namespace != "" {
			return usagef("--owner, --ticket and --exceptions-namespace are for written exceptions: name a file with --write-exceptions, or leave them out")
		}
		return nil
	}
	if f.as != exceptionsOfCluster && f.as != exceptionsOfBundle {
		return usagef("reading --exceptions-as %s: use cluster or bundle", f.as)
	}
	if strings.TrimSpace(f.owner) == "" {
		return usagef("--write-exceptions needs --owner: name who answers for them, a team or a person")
	}
	var err error
	if f.until, err = parseExpiry(f.expires); err != nil {
		return usagef("reading --expires: %w", err)
	}
	if end := f.until(time.Now()); !end.After(time.Now()) {
		return usagef("reading --expires: %s is over: name a later day", f.expires)
	}
	return nil
}

// parseExpiry reads a time from now, or a day.
func parseExpiry(text string) (func(now time.Time) time.Time, error) {
	after := func(d time.Duration) func(time.Time) time.Time {
		return func(now time.Time) time.Time { return now.Add(d) }
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && time.Duration(n) <= maxExceptionLifetime/(24*time.Hour) {
			return after(time.Duration(n) * 24 * time.Hour), nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d > 0 && d <= maxExceptionLifetime {
		return after(d), nil
	} else if at, err := policies.ParseMoment(text); err == nil && at.Before(time.Now().Add(maxExceptionLifetime)) {
		return func(time.Time) time.Time { return at }, nil
	}
	return nil, fmt.Errorf("%q is neither a time up to ten years, as 30d or 36h, nor a day, as 2027-01-31", text)
}

// violations are what stands, by bundle. They are as many as the cluster has findings, some 200 bytes each.
type violations struct {
	found map[string]map[policies.Violation]bool
}

// add takes the findings of an object that stand.
func (v *violations) add(result *audit.Result, seen seenObject) {
	var object ownership.Object
	read := false
	for n := range result.Findings {
		finding := &result.Findings[n]
		if finding.ExceptedBy != "" {
			continue
		}
		if !read { // most objects have no findings
			object, _ = ownership.Of(seen.object.Raw, result.Object.Kind)
			object.Kind, object.Name, read = result.Object.Kind, result.Object.Name, true
		}
		violation := policies.Violation{
			Policy: finding.Policy, Namespace: result.Object.Scope(), Group: result.Object.Group, Kind: result.Object.Kind, Name: result.Object.Name,
			Names: object.Names(), Container: containerOf(result.Object, seen.object.Raw, finding.Path),
		}
		if violation.Names != "" {
			violation.Name = "" // one for all pods of a workload
		}
		if v.found == nil {
			v.found = map[string]map[policies.Violation]bool{}
		}
		if v.found[finding.Bundle] == nil {
			v.found[finding.Bundle] = map[policies.Violation]bool{}
		}
		v.found[finding.Bundle][violation] = true
	}
}

// ofContainer is the beginning of a path that leads to a container.
var ofContainer = regexp.MustCompile(`^(?:.*\.)?(?:containers|initContainers|ephemeralContainers)\[\d+\]`)

// containerOf is the container that a finding is about, "" for the object as a whole.
func containerOf(r audit.Reference, raw []byte, path string) string {
	at := ofContainer.FindString(path)
	if at == "" || !workload.Carries(r.Group, r.Kind) {
		return ""
	}
	name, ok := manifest.Get(raw, at+".name")
	if !ok {
		return ""
	}
	text, err := strconv.Unquote(string(name))
	if err != nil {
		return ""
	}
	return text
}

// writtenException is an exception as one document.
type writtenException struct {
	name string
	yaml []byte
}

// write writes the exceptions, and says which of them the bundle will not take.
func (f *auditExceptionFlags) write(w io.Writer, lineup *admission.Lineup, all *violations, now time.Time) (int, error) {
	terms := policies.Terms{
		Reason: "Found by portcullis audit on " + now.UTC().Format(time.DateOnly) + ": it was there before the policy was enforced.",
		Owner:  f.owner, Expires: f.until(now).UTC().Truncate(time.Second).Format(time.RFC3339),
	}
	if f.ticket != "" {
		terms.Reason += " See " + f.ticket + "."
	}
	var written []writtenException
	refused := map[string]int{}
	for _, bundle := range slices.Sorted(maps.Keys(all.found)) {
		exceptions, err := policies.Excepting(slices.Collect(maps.Keys(all.found[bundle])), terms)
		if err != nil {
			return 0, fmt.Errorf("writing exceptions: %w", err)
		}
		for _, exception := range exceptions {
			one, why, err := f.document(lineup, exception, bundle, now)
			if err != nil {
				return 0, err
			}
			written = append(written, one)
			if why != "" {
				refused[why]++
			}
		}
	}
	for _, why := range slices.Sorted(maps.Keys(refused)) {
		fmt.Fprintf(w, "portcullis: of the written exceptions, %d will waive nothing: %s; --exceptions-as bundle writes them for the bundle itself\n", refused[why], output.Plain(why))
	}
	return len(written), f.files(written, terms)
}

// document is one exception in the form that was asked for, and why the bundle will not take it from the cluster.
func (f *auditExceptionFlags) document(lineup *admission.Lineup, exception policies.Exception, bundle string, now time.Time) (one writtenException, why string, err error) {
	var object any = exception
	if f.as == exceptionsOfCluster {
		namespace := cmp.Or(f.namespace, "portcullis-system")
		// A Namespace is not in itself: whoever may write there does not decide about it.
		if spaces := exception.Selector.Namespaces; f.namespace == "" && len(spaces) == 1 && !slices.Equal(exception.Selector.Kinds, []string{"/Namespace"}) {
			namespace = spaces[0]
		}
		object = cluster.Object(exception, namespace, bundle)
		granted := exception
		granted.Grant = &policies.Grant{Namespace: namespace, Bundle: bundle, Creator: "whoever applies it", Created: now}
		why = refusedBy(lineup, &granted, bundle)
	}
	text, err := yaml.Marshal(object)
	if err != nil {
		return one, "", fmt.Errorf("writing the exception %s: %w", exception.Name, err)
	}
	text = bytes.ReplaceAll(text, []byte("  creationTimestamp: null\n"), nil)
	return writtenException{exception.Name, text}, why, nil
}

// refusedBy says why no bundle will take an exception, "" where one does.
func refusedBy(lineup *admission.Lineup, exception *policies.Exception, bundle string) string {
	why := ""
	for n := range lineup.Members {
		ready := &lineup.Members[n].Active
		if bundle != "" && ready.Bundle != bundle {
			continue
		}
		for _, judge := range ready.Judges {
			engine, ok := judge.(*policies.Engine)
			if !ok {
				continue
			}
			if why = engine.Bundle().RefusesException(exception); why == "" {
				return ""
			}
		}
	}
	return why
}

// files writes one file, or one for each.
func (f *auditExceptionFlags) files(written []writtenException, terms policies.Terms) error {
	head := fmt.Sprintf("# %s until %s. They waive what portcullis audit has found, and nothing that comes new.\n# Look through them, delete what should be mended today, and apply the rest.\n", pluralOf(len(written), "exception", "exceptions"), terms.Expires)
	if f.as == exceptionsOfBundle {
		head = strings.Replace(head, "apply the rest", "put the rest into the folder exceptions of the bundle, one file each", 1)
	}
	if !strings.HasSuffix(f.file, "/") && !isDirectory(f.file) {
		var b bytes.Buffer
		b.WriteString(head)
		for _, one := range written {
			b.WriteString("---\n")
			b.Write(one.yaml)
		}
		return writeFile(f.file, "--write-exceptions", b.Bytes())
	}
	files := map[string][]byte{}
	for _, one := range written {
		files[one.name+".yaml"] = one.yaml
	}
	return writeFiles(f.file, "--write-exceptions", files)
}

// writeFile writes a file that appears whole or not at all.
func writeFile(name, flag string, content []byte) error {
	file, err := output.Create(name, flag)
	if err != nil {
		return usageError{err}
	}
	if _, err := file.Write(content); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w: check %s", name, err, flag), file.Discard())
	}
	return file.Commit()
}

// writeFiles writes files into a directory, which is made. Others that are there are left alone.
func writeFiles(directory, flag string, files map[string][]byte) error {
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return usagef("writing into %s: %w: check %s", directory, err, flag)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := writeFile(filepath.Join(directory, name), flag, files[name]); err != nil {
			return err
		}
	}
	return nil
}
