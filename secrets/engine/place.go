package engine

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

const (
	// maxPath bounds a request's path in bytes. Vault's storage takes keys of 512 bytes (Consul) and more; a longer path is nobody's name for a secret.
	maxPath = 512
	// maxItems bounds lists of a source: keys, names, ciphertexts, parameters.
	maxItems = 256
)

// Mounts of the system. A policy about paths says nothing about them: sys/ is Vault itself, identity/ is everybody's, cubbyhole/ is the token's own.
var barredMounts = []string{"sys", "identity", "cubbyhole", "auth", "audit"}

// Place says where a source leads: what policies are asked about. What it returns is what Read requests, byte for byte; a path that something
// on the way to Vault might read in another way is Misconfigured. So is a source that does not name exactly one engine, or lacks what its
// engine needs.
func Place(source *v1alpha1.Source) (secrets.SyncPlace, error) {
	const doing = "reading the source"
	var place secrets.SyncPlace
	var err error
	if source == nil {
		return place, misconfigured(doing, "there is none: name one of kv, dynamic, pki, transit, appRoleSecretID")
	}
	engines := 0
	for _, named := range []bool{source.KV != nil, source.Dynamic != nil, source.PKI != nil, source.Transit != nil, source.AppRoleSecretID != nil} {
		if named {
			engines++
		}
	}
	if engines != 1 {
		return place, misconfigured(doing, "it names %d engines: name exactly one of kv, dynamic, pki, transit, appRoleSecretID", engines)
	}
	switch {
	case source.KV != nil:
		place, err = placeKV(source.KV)
	case source.Dynamic != nil:
		place, err = placeDynamic(source.Dynamic)
	case source.PKI != nil:
		place, err = placePKI(source.PKI)
	case source.Transit != nil:
		place, err = placeTransit(source.Transit)
	default:
		place, err = placeSecretID(source.AppRoleSecretID)
	}
	if err == nil {
		err = checkRenewal(source)
	}
	if err != nil {
		return secrets.SyncPlace{}, err
	}
	return place, nil
}

// PushPlace says where a push leads.
func PushPlace(destination *v1alpha1.PushDestination) (secrets.SyncPlace, error) {
	if destination == nil {
		return secrets.SyncPlace{}, misconfigured("reading the destination", "there is none: name a mount and a path of the key-value engine")
	}
	const doing = "reading the destination"
	place := newPlace("", destination.Mount, destination.Path)
	err := checkEnds(doing, "destination", destination.Mount, destination.Path)
	switch {
	case err != nil:
	case destination.EngineVersion == 1:
		place.Engine = secrets.EngineKV1
		path := join(destination.Mount, destination.Path)
		place.Accesses = []secrets.Access{{Path: path, Capability: "create"}, {Path: path, Capability: "update"}, {Path: path, Capability: "read"}}
		err = checkLength(doing, path)
	case destination.EngineVersion == 0 || destination.EngineVersion == 2:
		place.Engine = secrets.EngineKV2
		path := join(destination.Mount, "data", destination.Path)
		place.Accesses = []secrets.Access{{Path: path, Capability: "create"}, {Path: path, Capability: "update"}, {Path: path, Capability: "read"}}
		err = checkLength(doing, join(destination.Mount, "metadata", destination.Path))
	default:
		err = misconfigured(doing, "destination.engineVersion is %d: there are 1 and 2", destination.EngineVersion)
	}
	if err != nil {
		return secrets.SyncPlace{}, err
	}
	return place, nil
}

func newPlace(engine, mount, path string) secrets.SyncPlace {
	return secrets.SyncPlace{Engine: engine, Mount: mount, Path: path, Segments: strings.Split(path, "/"), Keys: []string{}}
}

func placeKV(kv *v1alpha1.KVSource) (secrets.SyncPlace, error) {
	const doing = "reading source.kv"
	place := newPlace(secrets.EngineKV2, kv.Mount, kv.Path)
	if err := checkEnds(doing, "kv", kv.Mount, kv.Path); err != nil {
		return place, err
	}
	if err := checkKeys(doing, "kv.keys", kv.Keys); err != nil {
		return place, err
	}
	place.Keys = append(place.Keys, kv.Keys...)
	path := join(kv.Mount, "data", kv.Path)
	switch kv.EngineVersion {
	case 0, 2:
		if kv.Version < 0 {
			return place, misconfigured(doing, "kv.version is negative: give a version, or leave it out for the latest")
		}
		place.Version = kv.Version
	case 1:
		if kv.Version != 0 {
			return place, misconfigured(doing, "kv.version pins a version, and version 1 of the engine has none: leave it out")
		}
		place.Engine, path = secrets.EngineKV1, join(kv.Mount, kv.Path)
	default:
		return place, misconfigured(doing, "kv.engineVersion is %d: there are 1 and 2", kv.EngineVersion)
	}
	place.Accesses = []secrets.Access{{Path: path, Capability: "read"}}
	return place, checkLength(doing, path)
}

func placeDynamic(dynamic *v1alpha1.DynamicSource) (secrets.SyncPlace, error) {
	const doing = "reading source.dynamic"
	place := newPlace(secrets.EngineDynamic, dynamic.Mount, dynamic.Path)
	if err := checkEnds(doing, "dynamic", dynamic.Mount, dynamic.Path); err != nil {
		return place, err
	}
	if err := checkKeys(doing, "dynamic.keys", dynamic.Keys); err != nil {
		return place, err
	}
	if len(dynamic.Parameters) > maxItems {
		return place, misconfigured(doing, "dynamic.parameters are %d, at most %d are sent", len(dynamic.Parameters), maxItems)
	}
	place.Keys = append(place.Keys, dynamic.Keys...)
	path, capability := join(dynamic.Mount, dynamic.Path), "read"
	if len(dynamic.Parameters) > 0 {
		capability = "update"
	}
	place.Accesses = []secrets.Access{{Path: path, Capability: capability}}
	return place, checkLength(doing, path)
}

func placePKI(pki *v1alpha1.PKISource) (secrets.SyncPlace, error) {
	const doing = "reading source.pki"
	place := newPlace(secrets.EnginePKI, pki.Mount, pki.Role)
	if err := checkMountName(doing, "pki.mount", pki.Mount); err != nil {
		return place, err
	}
	if err := checkName(doing, "pki.role", pki.Role); err != nil {
		return place, err
	}
	if err := checkNames(doing, pki); err != nil {
		return place, err
	}
	if pki.TTL != nil && pki.TTL.Duration <= 0 {
		return place, misconfigured(doing, "pki.ttl is not positive: give a lifetime, or leave it out for that of the role")
	}
	if !slices.Contains([]string{"", "PKCS8", "Traditional"}, pki.KeyFormat) {
		return place, misconfigured(doing, "pki.keyFormat is %q: there are PKCS8 and Traditional", pki.KeyFormat)
	}
	if !slices.Contains([]string{"", "Full", "Leaf"}, pki.Chain) {
		return place, misconfigured(doing, "pki.chain is %q: there are Full and Leaf", pki.Chain)
	}
	operation := "issue"
	if pki.CSR != nil {
		operation = "sign"
		if !knownAlgorithm(pki.CSR.Algorithm) {
			return place, misconfigured(doing, "pki.csr.algorithm is %q: there are %s", pki.CSR.Algorithm, strings.Join(algorithms, ", "))
		}
		if pki.CSR.Algorithm == "Ed25519" && pki.KeyFormat == "Traditional" {
			return place, misconfigured(doing, "pki.keyFormat is Traditional, which Ed25519 keys do not have: take PKCS8")
		}
	}
	path := join(pki.Mount, operation, pki.Role)
	place.Accesses = []secrets.Access{{Path: path, Capability: "update"}}
	return place, checkLength(doing, path)
}

// checkNames checks what a certificate is to be for. Vault splits its parameters at commas, so that a name with one would be several.
func checkNames(doing string, pki *v1alpha1.PKISource) error {
	if pki.CommonName == "" && len(pki.AltNames)+len(pki.IPSANs)+len(pki.URISANs) == 0 {
		return misconfigured(doing, "it names nothing that the certificate is for: give commonName, altNames, ipSANs or uriSANs")
	}
	if total := len(pki.AltNames) + len(pki.IPSANs) + len(pki.URISANs); total > maxItems {
		return misconfigured(doing, "the certificate is for %d names, at most %d are asked for", total, maxItems)
	}
	for field, list := range map[string][]string{"pki.commonName": {pki.CommonName}, "pki.altNames": pki.AltNames, "pki.ipSANs": pki.IPSANs, "pki.uriSANs": pki.URISANs} {
		for _, name := range list {
			if name == "" && field == "pki.commonName" {
				continue
			}
			if name == "" || len(name) > maxPath || strings.ContainsFunc(name, func(r rune) bool { return r == ',' || !unicode.IsPrint(r) }) || !utf8.ValidString(name) || strings.TrimSpace(name) != name {
				return misconfigured(doing, "%s holds %q: a name is not empty, at most %d bytes, without commas, control characters and spaces at its ends", field, name, maxPath)
			}
		}
	}
	for _, name := range pki.IPSANs {
		if address, err := netip.ParseAddr(name); err != nil || address.Zone() != "" {
			return misconfigured(doing, "pki.ipSANs holds %q, which is no IP address", name)
		}
	}
	for _, name := range pki.URISANs {
		if u, err := url.Parse(name); err != nil || u.Scheme == "" {
			return misconfigured(doing, "pki.uriSANs holds %q, which is no URI with a scheme", name)
		}
	}
	return nil
}

// Mounts of engines where a source names none.
const (
	defaultTransitMount = "transit"
	defaultAppRoleMount = "approle"
)

func orElse(text, none string) string {
	if text == "" {
		return none
	}
	return text
}

func placeTransit(transit *v1alpha1.TransitSource) (secrets.SyncPlace, error) {
	const doing = "reading source.transit"
	mount := orElse(transit.Mount, defaultTransitMount)
	place := newPlace(secrets.EngineTransit, mount, transit.Key)
	if err := checkMountName(doing, "transit.mount", mount); err != nil {
		return place, err
	}
	if err := checkName(doing, "transit.key", transit.Key); err != nil {
		return place, err
	}
	if transit.PublicKeys == (len(transit.Ciphertexts) > 0) {
		return place, misconfigured(doing, "it needs exactly one of transit.ciphertexts and transit.publicKeys")
	}
	if !isBase64(transit.Context) {
		return place, misconfigured(doing, "transit.context is not base64")
	}
	path, capability := join(mount, "keys", transit.Key), "read"
	if len(transit.Ciphertexts) > 0 {
		path, capability = join(mount, "decrypt", transit.Key), "update"
		place.Keys = keysOf(transit.Ciphertexts)
		if err := checkKeys(doing, "transit.ciphertexts", place.Keys); err != nil {
			return place, err
		}
		for _, key := range place.Keys {
			if !strings.HasPrefix(transit.Ciphertexts[key], "vault:v") {
				return place, misconfigured(doing, "transit.ciphertexts %s is no ciphertext of Vault's transit engine: it begins with vault:v and a version", names([]string{key}))
			}
		}
	}
	place.Accesses = []secrets.Access{{Path: path, Capability: capability}}
	return place, checkLength(doing, path)
}

func placeSecretID(role *v1alpha1.AppRoleSecretIDSource) (secrets.SyncPlace, error) {
	const doing = "reading source.appRoleSecretID"
	below := orElse(role.Mount, defaultAppRoleMount)
	place := newPlace(secrets.EngineAppRole, "auth/"+below, role.Role)
	if err := checkMountName(doing, "appRoleSecretID.mount", below); err != nil {
		return place, err
	}
	if err := checkName(doing, "appRoleSecretID.role", role.Role); err != nil {
		return place, err
	}
	// The AppRole method takes names of roles in any case: one role would have many names, and policies know one.
	if strings.ToLower(role.Role) != role.Role {
		return place, misconfigured(doing, "appRoleSecretID.role is %q: Vault takes names of roles in any case, so write it in lower case, and in Vault's policy too", role.Role)
	}
	if role.TTL != nil && role.TTL.Duration <= 0 {
		return place, misconfigured(doing, "appRoleSecretID.ttl is not positive: give a lifetime, or leave it out for that of the role")
	}
	if len(role.Metadata) > maxItems || len(role.CIDRs) > maxItems {
		return place, misconfigured(doing, "appRoleSecretID.metadata and cidrs are at most %d each", maxItems)
	}
	for _, cidr := range role.CIDRs {
		if _, _, err := net.ParseCIDR(cidr); err != nil {
			return place, misconfigured(doing, "appRoleSecretID.cidrs holds %q, which is no CIDR block such as 10.0.0.0/8", cidr)
		}
	}
	base := join(place.Mount, "role", role.Role)
	place.Accesses = []secrets.Access{{Path: join(base, "role-id"), Capability: "read"}, {Path: join(base, "secret-id"), Capability: "update"}}
	return place, checkLength(doing, join(base, "secret-id-accessor/destroy"))
}

func checkRenewal(source *v1alpha1.Source) error {
	if percent := RenewPercent(source); percent != 0 && (percent < 10 || percent > 90) {
		return misconfigured("reading the source", "renewPercent is %d: it is from 10 to 90", percent)
	}
	return nil
}

func join(parts ...string) string { return strings.Join(parts, "/") }

func checkEnds(doing, field, mount, path string) error {
	if err := checkMountName(doing, field+".mount", mount); err != nil {
		return err
	}
	return checkPath(doing, field+".path", path)
}

func checkMountName(doing, field, mount string) error {
	if err := checkPath(doing, field, mount); err != nil {
		return err
	}
	// Anywhere in it, not only first: Vault Enterprise takes namespaces before a path ("team/sys/…").
	for segment := range strings.SplitSeq(mount, "/") {
		if slices.Contains(barredMounts, strings.ToLower(segment)) {
			return misconfigured(doing, "%s is %q: %s is Vault's own; name the mount of a secrets engine", field, mount, segment)
		}
	}
	return nil
}

// checkPath takes paths of one reading only. Refused is what servers, proxies or Vault's policies may read as something else: "." and ".."
// and empty segments (cleaned away on the way), "%" (decoded once more), "?" and "#" (the end of a path), "\" (a slash to some), ";"
// (parameters to some), "*" and "+" (wildcards of Vault's policies), characters that are not seen, and spaces at the ends of a segment.
func checkPath(doing, field, path string) error {
	refuse := func(why string) error {
		return misconfigured(doing, "%s is %s: %s; write the path as Vault lists it", field, quote(path), why)
	}
	switch {
	case path == "":
		return misconfigured(doing, "%s is missing", field)
	case len(path) > maxPath:
		return refuse(fmt.Sprintf("it has %d bytes, at most %d are taken", len(path), maxPath))
	case !utf8.ValidString(path):
		return refuse("it is not UTF-8")
	}
	for segment := range strings.SplitSeq(path, "/") {
		switch {
		case segment == "":
			return refuse("it has an empty segment: a slash at an end, or two in a row")
		case segment == "." || segment == "..":
			return refuse(fmt.Sprintf("it has the segment %q", segment))
		case strings.TrimSpace(segment) != segment:
			return refuse("a segment begins or ends with a space")
		}
	}
	for _, r := range path {
		switch {
		case strings.ContainsRune(`%?#\;*+`, r):
			return refuse(fmt.Sprintf("it has a %q", r))
		case !unicode.IsPrint(r):
			return refuse(fmt.Sprintf("it has the character %U, which is not seen", r))
		}
	}
	return nil
}

// checkName takes one segment: a role, a key of transit.
func checkName(doing, field, name string) error {
	if err := checkPath(doing, field, name); err != nil {
		return err
	}
	// Names of roles and keys in Vault: framework.GenericNameRegex.
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.') {
			return misconfigured(doing, "%s is %s: a name has letters, digits, _, - and . only", field, quote(name))
		}
	}
	return nil
}

func checkLength(doing, path string) error {
	if len(path) > maxPath {
		return misconfigured(doing, "the path is %d bytes with its mount, at most %d are taken", len(path), maxPath)
	}
	return nil
}

func checkKeys(doing, field string, keys []string) error {
	if len(keys) > maxItems {
		return misconfigured(doing, "%s are %d, at most %d are taken", field, len(keys), maxItems)
	}
	seen := map[string]bool{}
	for _, key := range keys {
		if key == "" || len(key) > 253 || !utf8.ValidString(key) || strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }) || seen[key] {
			return misconfigured(doing, "%s holds %s: a key is not empty, at most 253 bytes, without control characters, and there once", field, names([]string{key}))
		}
		seen[key] = true
	}
	return nil
}

// quote prints a path that is refused, cut at 80 bytes.
func quote(path string) string {
	if len(path) > 80 {
		path = path[:80] + "…"
	}
	return fmt.Sprintf("%q", path)
}
