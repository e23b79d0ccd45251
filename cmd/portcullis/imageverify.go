package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/cmd/internal/bundlesource"
	"github.com/portcullis-dev/portcullis/cmd/internal/registryflags"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// trustFlags say who is trusted: the trust of a bundle, of a file, or single keys and one identity.
type trustFlags struct {
	bundle           bundleFlags
	trust, root      string
	keys             []string
	identity, issuer string
	kinds            []string
}

func (f *trustFlags) register(command *cobra.Command, registries *registryflags.Flags) {
	f.bundle.registerBundle(command.Flags(), registries)
	command.Flags().Lookup("bundle").Usage = "policy `bundle` whose trust is used: " + bundlesource.Forms
	command.Flags().StringVar(&f.trust, "trust", "", "YAML or JSON `file` with a trust configuration: the section trust of bundle.yaml")
	command.Flags().StringArrayVar(&f.keys, "key", nil, "public key `file` that is trusted for every image; may be repeated")
	command.Flags().StringVar(&f.identity, "certificate-identity", "", "`subject` of keyless signatures that is trusted for every image")
	command.Flags().StringVar(&f.issuer, "certificate-oidc-issuer", "", "`issuer` of that identity")
	command.Flags().StringArrayVar(&f.kinds, "type", nil, "with --key or --certificate-identity demand an attestation of this `type`, too; may be repeated")
	command.Flags().StringVar(&f.root, "trusted-root", "", "trusted_root.json `file` of Sigstore: needed for keyless signatures and log entries")
}

// load is the trust configuration.
func (f *trustFlags) load(ctx context.Context) (*signer.Configuration, error) {
	single := len(f.keys) > 0 || f.identity != "" || f.issuer != ""
	sources := 0
	for _, given := range []bool{f.bundle.ref != "", f.trust != "", single} {
		if given {
			sources++
		}
	}
	switch {
	case sources != 1:
		return nil, usagef("who is trusted must be said once: give --bundle, --trust, or --key and --certificate-identity")
	case !single && len(f.kinds) > 0:
		return nil, usagef("--type goes with --key and --certificate-identity: a trust configuration has its own attestations")
	case f.bundle.ref != "":
		bundle, err := f.bundle.load(ctx)
		if err != nil {
			return nil, err
		}
		return bundle.Trust(), nil
	case f.trust != "":
		return f.loadFile()
	}
	return f.loadSingle()
}

func (f *trustFlags) loadFile() (*signer.Configuration, error) {
	content, err := readFile("the trust configuration", f.trust)
	if err != nil {
		return nil, err
	}
	asJSON, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return nil, usagef("reading the trust configuration %s: %w", f.trust, err)
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(asJSON, &fields) == nil { // whatever else it is, ParseTrust says
		switch {
		case len(fields) == 0:
			return nil, usagef("the trust configuration %s is empty: write authorities and requirements into it, or give --key", f.trust)
		case fields["apiVersion"] != nil || fields["profiles"] != nil || fields["trust"] != nil:
			return nil, usagef("%s is the file of a bundle: give its directory with --bundle %s", f.trust, filepath.Dir(f.trust))
		}
	}
	parsed, err := signer.ParseTrust(asJSON)
	if err != nil {
		return nil, usagef("%w: mend %s", err, f.trust)
	}
	configuration, err := signer.Compile(parsed)
	if err != nil {
		return nil, usagef("%w: mend %s", err, f.trust)
	}
	return configuration, nil
}

// loadSingle trusts what the flags name for every image, any of it.
func (f *trustFlags) loadSingle() (*signer.Configuration, error) {
	if (f.identity == "") != (f.issuer == "") {
		return nil, usagef("--certificate-identity and --certificate-oidc-issuer belong together: give both or neither")
	}
	if f.identity != "" && f.root == "" {
		return nil, usagef("keyless signatures cannot be verified without a trusted root: %s", nextRoot)
	}
	authority := signer.Authority{Name: "key", Images: []string{"**"}}
	for _, kind := range f.kinds {
		full, err := predicateType(kind)
		if err != nil {
			return nil, err
		}
		authority.Attestations = append(authority.Attestations, signer.AttestationRequirement{PredicateType: full})
	}
	requirement := signer.Requirement{Name: "any", Images: []string{"**"}}
	trust := &signer.Trust{}
	if len(f.keys) > 0 {
		byKey := authority
		for _, name := range f.keys {
			content, err := readFile("the public key", name)
			if err != nil {
				return nil, err
			}
			if block, _ := pem.Decode(content); block != nil && strings.Contains(block.Type, "PRIVATE KEY") {
				return nil, usagef("--key %s: it is a private key: give the public one%s", name, counterpart(name, ".key", ".pub"))
			}
			byKey.Keys = append(byKey.Keys, signer.Key{PEM: string(content), Name: name})
		}
		trust.Authorities, requirement.AnyOf = append(trust.Authorities, byKey), append(requirement.AnyOf, byKey.Name)
	}
	if f.identity != "" {
		byIdentity := authority
		byIdentity.Name, byIdentity.Identities = "identity", []signer.Identity{{Issuer: f.issuer, Subject: f.identity}}
		trust.Authorities, requirement.AnyOf = append(trust.Authorities, byIdentity), append(requirement.AnyOf, byIdentity.Name)
	}
	trust.Requirements = []signer.Requirement{requirement}
	configuration, err := signer.Compile(trust)
	if err != nil {
		return nil, usageError{err}
	}
	return configuration, nil
}

// nextRoot is the next step where there is no trusted root.
const nextRoot = "give --trusted-root FILE, the trusted_root.json of Sigstore"

// checkRoot refuses to judge an image without the trusted root that an authority for it needs: what such
// an authority has signed would be passed over, or nothing at all be found and called unsigned.
func (f *trustFlags) checkRoot(trust *signer.Configuration, target cosign.Target) error {
	if f.root != "" {
		return nil
	}
	for _, authority := range trust.For(target.Repository.Registry, target.Repository.Path) {
		switch {
		case authority.Keyless():
			return usagef("authority %s is keyless, and keyless signatures of %s cannot be verified without a trusted root: %s", authority.Name, target.Repository, nextRoot)
		case authority.NeedsTrustedRoot():
			return usagef("authority %s demands entries of a transparency log, and those of %s cannot be verified without a trusted root: %s", authority.Name, target.Repository, nextRoot)
		}
	}
	return nil
}

func (f *trustFlags) verifier() (*cosign.Verifier, error) {
	var options cosign.Options
	if f.root != "" {
		roots, err := cosign.NewRoots(f.root)
		if err != nil {
			return nil, usagef("%w: correct --trusted-root", err)
		}
		options.Roots = roots
	}
	return cosign.NewVerifier(options), nil
}

// imageVerifyFlags are those of portcullis image verify and evidence.
type imageVerifyFlags struct {
	place  placeFlags
	trust  trustFlags
	format string
}

func (p *program) imageVerifyCommand() *cobra.Command {
	var f imageVerifyFlags
	command := &cobra.Command{
		Use:   "verify REF…",
		Short: "Say whether images are signed and attested as a trust configuration demands",
		Long: `verify finds what is attached to images, in either format of cosign, verifies it as admission does, and
says for each requirement of the trust configuration whether it is met, what was found, and what does not
count and why. An image that no requirement is about is denied.

Nothing is asked of any network but the registry's: keyless signatures and log entries are
verified against --trusted-root.

` + verifyingExits,
		Example: `  portcullis image verify ghcr.io/acme/app:1 --key cosign.pub
  portcullis image verify ghcr.io/acme/app:1 --bundle policies/ --trusted-root trusted_root.json
  portcullis image verify ghcr.io/acme/app:1 --trusted-root trusted_root.json \
    --certificate-identity https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main \
    --certificate-oidc-issuer https://token.actions.githubusercontent.com`,
		Args: images(),
		RunE: func(command *cobra.Command, args []string) error { return p.imageVerify(command.Context(), &f, args) },
	}
	f.place.register(command.Flags())
	f.trust.register(command, &f.place.registries)
	registerText(command, &f.format)
	return command
}

func registerText(command *cobra.Command, format *string) {
	command.Flags().StringVar(format, "format", "text", "output `format`: text or json")
	complete(command, "format", "text", "json")
}

func checkText(format string) error {
	if format != "text" && format != "json" {
		return usagef("--format %s: use text or json", format)
	}
	return nil
}

// verification is what image verify says of one image.
type verification struct {
	Image        string          `json:"image"`
	Verified     bool            `json:"verified"`
	Requirements []outcome       `json:"requirements"`
	Evidence     signer.Evidence `json:"evidence"`
	// attested says whether a requirement demands attestations, too.
	attested bool
}

// outcome says what became of one requirement.
type outcome struct {
	Name    string   `json:"name"`
	Met     bool     `json:"met"`
	Count   int64    `json:"count"`
	Missing []lack   `json:"missing"`
	Signed  []string `json:"signed"`
}

// lack says what an authority has not done.
type lack struct {
	Authority string `json:"authority"`
	Reason    string `json:"reason"`
}

func (p *program) imageVerify(ctx context.Context, f *imageVerifyFlags, arguments []string) error {
	if err := checkText(f.format); err != nil {
		return err
	}
	trust, err := f.trust.load(ctx)
	if err != nil {
		return err
	}
	verifier, err := f.trust.verifier()
	if err != nil {
		return err
	}
	return p.eachImage(ctx, arguments, func(ctx context.Context, argument string) (gate.ExitCode, error) {
		image, err := f.place.open(ctx, argument)
		if err != nil {
			return gate.ExitFault, err
		}
		defer image.close()
		if err := f.trust.checkRoot(trust, image.target); err != nil {
			return gate.ExitUsage, err
		}
		evidence, err := verifier.Verify(ctx, image.source, image.target, trust)
		var undecided *cosign.UndecidedError
		if errors.As(err, &undecided) {
			fmt.Fprintf(p.stderr, "portcullis: %s: give --trusted-root\n", output.Plain(err.Error()))
			return gate.ExitUndecided, nil
		}
		if err != nil {
			return gate.ExitFault, err
		}
		result := verification{Image: image.target.String(), Evidence: evidence, Requirements: []outcome{}}
		result.judge(trust.Required(image.target.Repository.Registry, image.target.Repository.Path), time.Now())
		if err := p.showVerification(f.format, result); err != nil {
			return gate.ExitFault, err
		}
		if !result.Verified {
			return gate.ExitDenied, nil
		}
		return gate.ExitAdmitted, nil
	})
}

// judge compares the evidence with the requirements, as the library's policies images/signed and
// images/attested do. Without any requirement nothing is verified.
func (v *verification) judge(requirements []signer.Required, now time.Time) {
	v.Verified = len(requirements) > 0
	for _, required := range requirements {
		one := outcome{Name: required.Name, Count: required.Count, Missing: []lack{}, Signed: []string{}}
		for _, authority := range required.Authorities {
			v.attested = v.attested || len(authority.Attestations) > 0
			if reason := missing(v.Evidence, authority, now); reason != "" {
				one.Missing = append(one.Missing, lack{authority.Name, reason})
				continue
			}
			one.Signed = append(one.Signed, authority.Name)
		}
		one.Met = required.Count > 0 && int64(len(one.Signed)) >= required.Count
		v.Verified = v.Verified && one.Met
		v.Requirements = append(v.Requirements, one)
	}
}

// missing says what of an authority's evidence is not there, "" if all is.
func missing(evidence signer.Evidence, authority signer.RequiredAuthority, now time.Time) string {
	if !slices.ContainsFunc(evidence.Signatures, func(s signer.Signature) bool { return s.Authority == authority.Name }) {
		return "has not signed it"
	}
	for _, wanted := range authority.Attestations {
		found, fresh := false, false
		for _, attestation := range evidence.Attestations {
			if attestation.Authority == authority.Name && attestation.PredicateType == wanted.PredicateType {
				found, fresh = true, fresh || young(attestation.Time, wanted.MaxAge, now)
			}
		}
		switch {
		case !found:
			return "has not attested " + wanted.PredicateType
		case !fresh:
			return fmt.Sprintf("has attested %s, but not within the last %s by a trusted time", wanted.PredicateType, time.Duration(wanted.MaxAge)*time.Second)
		}
	}
	return ""
}

// young says whether a trusted time is not too long ago; without one nothing with a limit is, nor with one to come.
func young(text string, maxAge int64, now time.Time) bool {
	if maxAge == 0 {
		return true
	}
	at, err := time.Parse(time.RFC3339, text)
	age := now.Sub(at)
	return err == nil && age >= -scanner.ClockSkew && age <= time.Duration(maxAge)*time.Second
}

func (p *program) showVerification(format string, v verification) error {
	if format == "json" {
		return writeJSON(p.stdout, v)
	}
	var b strings.Builder
	verdict := "verified"
	if !v.Verified {
		verdict = "NOT verified"
	}
	fmt.Fprintf(&b, "%s: %s\n", v.Image, verdict)
	if len(v.Requirements) == 0 {
		b.WriteString("  no requirement of the trust configuration is about this image: add one, or name the image as it says\n")
	}
	for _, one := range v.Requirements {
		state := "met"
		if !one.Met {
			state = "not met"
		}
		fmt.Fprintf(&b, "  requirement %s (%d of %d): %s\n", output.Plain(one.Name), one.Count, len(one.Signed)+len(one.Missing), state)
		for _, lacking := range one.Missing {
			fmt.Fprintf(&b, "    %s %s\n", output.Plain(lacking.Authority), output.Plain(lacking.Reason))
		}
	}
	for _, s := range v.Evidence.Signatures {
		fmt.Fprintf(&b, "  signed by %s: %s\n", output.Plain(s.Authority), output.Plain(describeSigner(s.Signer)))
	}
	for _, a := range v.Evidence.Attestations {
		fmt.Fprintf(&b, "  attested by %s: %s, %s\n", output.Plain(a.Authority), output.Plain(a.PredicateType), output.Plain(describeSigner(a.Signer)))
	}
	for _, one := range v.uncounted() {
		fmt.Fprintf(&b, "  does not count: %s: %s\n", output.Plain(one.what()), output.Plain(one.reason))
	}
	_, err := io.WriteString(p.stdout, b.String())
	return err
}

// uncounted are things of one kind that were found and do not count for one reason.
type uncounted struct {
	kind, reason string
	types        []string // of attestations, each once
	count        int
}

// uncounted groups the rejections by kind and reason, in the order in which they were found. Attestations
// are left out where none is demanded: whose they are is nothing that was asked.
func (v *verification) uncounted() []*uncounted {
	var groups []*uncounted
	for _, r := range v.Evidence.Rejected {
		if r.What == "attestation" && !v.attested {
			continue
		}
		at := slices.IndexFunc(groups, func(g *uncounted) bool { return g.kind == r.What && g.reason == r.Reason })
		if at < 0 {
			at, groups = len(groups), append(groups, &uncounted{kind: r.What, reason: r.Reason})
		}
		group := groups[at]
		group.count++
		if r.PredicateType != "" && !slices.Contains(group.types, r.PredicateType) {
			group.types = append(group.types, r.PredicateType)
		}
	}
	return groups
}

// what names them: "signature", "attestation https://…", "3 attestations (https://…, https://…)".
func (u *uncounted) what() string {
	types := strings.Join(u.types, ", ")
	switch {
	case u.count > 1 && types != "":
		return fmt.Sprintf("%d %ss (%s)", u.count, u.kind, types)
	case u.count > 1:
		return fmt.Sprintf("%d %ss", u.count, u.kind)
	case types != "":
		return u.kind + " " + types
	default:
		return u.kind
	}
}

func describeSigner(s signer.Signer) string {
	who := "key " + s.Key
	if s.Key == "" {
		who = fmt.Sprintf("%s (issuer %s)", s.Subject, s.Issuer)
	}
	when := ""
	if s.Time != "" {
		when = ", at " + s.Time
	}
	return fmt.Sprintf("%s, format %s%s", who, s.Format, when)
}

func writeJSON(w io.Writer, value any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (p *program) imageEvidenceCommand() *cobra.Command {
	var f imageVerifyFlags
	command := &cobra.Command{
		Use:   "evidence REF…",
		Short: "List what is attached to images, without judging it",
		Long: `evidence lists the signatures and attestations that are attached to images, in either format of cosign, as
they present themselves. Nothing of it is verified: use verify to learn what counts.

With --format json the statements are there, too.

` + listingExits,
		Example: `  portcullis image evidence ghcr.io/acme/app:1
  portcullis image evidence ghcr.io/acme/app:1 --format json | jq '.[].attached[].statement.predicate'`,
		Args: images(),
		RunE: func(command *cobra.Command, args []string) error { return p.imageEvidence(command.Context(), &f, args) },
	}
	f.place.register(command.Flags())
	registerText(command, &f.format)
	return command
}

// attachedTo is what image evidence says of one image.
type attachedTo struct {
	Image    string         `json:"image"`
	Attached []cosign.Found `json:"attached"`
}

func (p *program) imageEvidence(ctx context.Context, f *imageVerifyFlags, arguments []string) error {
	if err := checkText(f.format); err != nil {
		return err
	}
	verifier := cosign.NewVerifier(cosign.Options{})
	all := []attachedTo{}
	err := p.eachImage(ctx, arguments, func(ctx context.Context, argument string) (gate.ExitCode, error) {
		image, err := f.place.open(ctx, argument)
		if err != nil {
			return gate.ExitFault, err
		}
		defer image.close()
		found, err := verifier.Inspect(ctx, image.source, image.target)
		if err != nil {
			return gate.ExitFault, err
		}
		all = append(all, attachedTo{image.target.String(), found})
		return gate.ExitAdmitted, nil
	})
	if err != nil {
		return err
	}
	if f.format == "json" {
		return writeJSON(p.stdout, all)
	}
	for _, one := range all {
		if err := p.showAttached(one); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) showAttached(one attachedTo) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d attached, nothing of it verified\n", one.Image, len(one.Attached))
	for _, found := range one.Attached {
		b.WriteString("  " + found.What)
		if found.PredicateType != "" && found.PredicateType != signer.SignPredicateType {
			b.WriteString(" " + output.Plain(found.PredicateType))
		}
		if found.Format != "" {
			b.WriteString(", format " + found.Format)
		}
		switch {
		case found.Subject != "":
			fmt.Fprintf(&b, ", by a certificate for %s (issuer %s)", output.Plain(found.Subject), output.Plain(found.Issuer))
		case found.Format != "":
			b.WriteString(", by a key")
		}
		for _, annotation := range found.Annotations {
			fmt.Fprintf(&b, ", %s=%s", output.Plain(annotation.Key), output.Plain(annotation.Value))
		}
		if found.Problem != "" {
			fmt.Fprintf(&b, ": %s", output.Plain(found.Problem))
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(p.stdout, b.String())
	return err
}
