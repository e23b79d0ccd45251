package falco

import (
	"encoding/json"
	"maps"
	"strings"
)

// kind is what the values of a field of Falco are.
type kind int

const (
	text kind = iota
	number
	flag
)

// fieldKinds are fields of Falco that rules and pipelines use, with what their values are
// (https://falco.org/docs/reference/rules/supported-fields, container plugin 0.3, k8smeta, k8saudit). The gRPC server of
// Falco writes all of them as text, http_output as what they are; some pipelines rewrite their names.
var fieldKinds = map[string]kind{
	"container.duration": number, "container.full_id": text, "container.host_ipc": flag, "container.host_network": flag,
	"container.host_pid": flag, "container.id": text, "container.image": text, "container.image.digest": text,
	"container.image.id": text, "container.image.repository": text, "container.image.tag": text, "container.ip": text,
	"container.mounts": text, "container.name": text, "container.privileged": flag, "container.start_ts": number, "container.type": text,

	"evt.arg": text, "evt.args": text, "evt.category": text, "evt.cpu": number, "evt.dir": text, "evt.failed": flag, "evt.hostname": text,
	"evt.is_open_exec": flag, "evt.is_open_read": flag, "evt.is_open_write": flag, "evt.num": number, "evt.rawtime": number,
	"evt.res": text, "evt.source": text, "evt.time": number, "evt.time.iso8601": number, "evt.type": text,

	"fd.cip": text, "fd.containername": text, "fd.cport": number, "fd.dev": number, "fd.directory": text, "fd.filename": text, "fd.ino": number,
	"fd.is_server": flag, "fd.l4proto": text, "fd.lip": text, "fd.lport": number, "fd.name": text, "fd.nameraw": text,
	"fd.num": number, "fd.rip": text, "fd.rport": number, "fd.sip": text, "fd.sip.name": text, "fd.sport": number,
	"fd.type": text, "fd.typechar": text, "fd.uid": text,
	"fs.path.name": text, "fs.path.source": text, "fs.path.target": text,

	"group.gid": number, "group.name": text,

	"k8s.ns.name": text, "k8s.pod.cni.json": text, "k8s.pod.id": text, "k8s.pod.ip": text, "k8s.pod.labels": text, "k8s.pod.name": text,
	"k8s.pod.sandbox_id": text, "k8s.pod.uid": text,
	"k8smeta.deployment.name": text, "k8smeta.ns.name": text, "k8smeta.ns.uid": text, "k8smeta.pod.ip": text, "k8smeta.pod.name": text,
	"k8smeta.pod.uid": text, "k8smeta.rs.name": text, "k8smeta.svc.name": text,

	"ka.auditid": text, "ka.auth.decision": text, "ka.auth.reason": text, "ka.impuser.name": text, "ka.req.pod.host_ipc": flag,
	"ka.req.pod.host_network": flag, "ka.req.pod.host_pid": flag, "ka.req.pod.containers.image": text, "ka.response.code": text,
	"ka.response.reason": text, "ka.sourceips": text, "ka.stage": text, "ka.target.name": text, "ka.target.namespace": text,
	"ka.target.pod.name": text, "ka.target.resource": text, "ka.target.subresource": text, "ka.uri": text, "ka.uri.param": text,
	"ka.user.groups": text, "ka.user.name": text, "ka.useragent": text, "ka.verb": text,

	"proc.acmdline": text, "proc.aexe": text, "proc.aexepath": text, "proc.aname": text, "proc.apid": number, "proc.args": text,
	"proc.cmdline": text, "proc.cmdnargs": number, "proc.cwd": text, "proc.duration": number, "proc.env": text, "proc.exe": text,
	"proc.exe_ino": number, "proc.exe_ino.ctime": number, "proc.exe_ino.mtime": number, "proc.exeline": text, "proc.exepath": text,
	"proc.is_exe_from_memfd": flag, "proc.is_exe_lower_layer": flag, "proc.is_exe_upper_layer": flag, "proc.is_exe_writable": flag,
	"proc.is_sid_leader": flag, "proc.is_vpgid_leader": flag, "proc.loginshellid": number, "proc.name": text, "proc.pcmdline": text,
	"proc.pexe": text, "proc.pexepath": text, "proc.pgid": number, "proc.pid": number, "proc.pid.ts": number, "proc.pname": text,
	"proc.ppid": number, "proc.ppid.ts": number, "proc.pvpid": number, "proc.sid": number, "proc.sid.exepath": text, "proc.sname": text,
	"proc.stdin.name": text, "proc.stdin.type": text, "proc.stdout.name": text, "proc.stdout.type": text, "proc.tty": number,
	"proc.vpgid": number, "proc.vpgid.exepath": text, "proc.vpgid.name": text, "proc.vpid": number, "proc.vsid": number,

	"thread.tid": number, "thread.vtid": number, "thread.ismain": flag,

	"user.homedir": text, "user.loginname": text, "user.loginuid": number, "user.name": text, "user.shell": text, "user.uid": number,
}

// rewrittenNames are the names of these fields as pipelines write them whose keys may hold no dots (Fluentd, Splunk,
// BigQuery), and the names that Falco gives them.
var rewrittenNames = underscored(fieldKinds)

func underscored(fields map[string]kind) map[string]string {
	names := map[string]string{}
	for name := range maps.Keys(fields) {
		if other := strings.ReplaceAll(name, ".", "_"); other != name {
			names[other] = name
		}
	}
	return names
}

// base is a field's name without an index: "proc.aname[2]" is of the kind of "proc.aname".
func base(name string) (field, index string) {
	if at := strings.IndexByte(name, '['); at > 0 {
		return name[:at], name[at:]
	}
	return name, ""
}

// original is the name that Falco gives to a field that came by this name.
func original(name string) string {
	field, index := base(name)
	if known, ok := rewrittenNames[field]; ok {
		return known + index
	}
	return name
}

// typed is a value as what its field's values are, whoever wrote it as text. What does not look like one stays text.
func typed(name string, value any) any {
	field, _ := base(name)
	known, ok := fieldKinds[field]
	if !ok {
		return value
	}
	if list, isList := value.([]any); isList && len(list) == 1 && known == text && !plural(field) {
		value = list[0]
	}
	written, isText := value.(string)
	switch {
	case !isText:
	case known == number && isInteger(written):
		return json.Number(written)
	case known == flag && written == "true":
		return true
	case known == flag && written == "false":
		return false
	}
	return value
}

// plural fields are lists even with one element.
func plural(field string) bool {
	return field == "k8s.pod.labels" || field == "container.mounts" || field == "ka.user.groups" || field == "ka.sourceips"
}

// isInteger says whether text is an integer of JSON: no sign but minus, no leading zero.
func isInteger(written string) bool {
	digits := strings.TrimPrefix(written, "-")
	if digits == "" || len(digits) > 20 || digits[0] == '0' && written != "0" {
		return false
	}
	return strings.Trim(digits, "0123456789") == ""
}

// unknown says whether a value stands for what Falco did not know. The container plugin writes an empty text for pods and
// containers that it has no metadata of yet.
func unknown(name string, value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case string:
		return v == "<NA>" || v == "" && (strings.HasPrefix(name, "k8s.") || strings.HasPrefix(name, "container."))
	}
	return false
}
