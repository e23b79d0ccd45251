# METADATA
# title: Programs that are not of the image
# description: |
#   What runs in a container is what its image holds, and that was scanned and signed. A program that was written into the
#   running container, or never onto a disk at all, is somebody else's. Falco knows it by the kernel: the executable is in the upper layer
#   of the overlay, in memory (memfd_create), or in /dev/shm.
# related_resources:
#   - https://attack.mitre.org/techniques/T1105/
#   - https://attack.mitre.org/techniques/T1620/
#   - https://github.com/falcosecurity/rules
# custom:
#   severity: critical
#   match:
#     events:
#       sources: [syscall]
#       priority: notice
#       rules: ["Drop and execute new binary in container*", "Fileless execution via memfd_create*", "Execution from /dev/shm*"]
#       tags: [T1620, PCI_DSS_11.5.1, process, mitre_execution, mitre_persistence]
#   remediation: >-
#     Find out how the program came into the container; build programs into images, and make their file systems read-only (pods/read-only-root).
#   controls:
#     mitre: [T1105, T1620, T1059.004]
#   parameters:
#     type: object
#     properties:
#       directories:
#         description: Where no program runs from, as globs of paths in which * is any run of characters.
#         type: array
#         items: {type: string, minLength: 1}
#         default: ["/dev/shm/*", "/run/shm/*", "memfd:*", "/memfd:*", "/proc/*/fd/*"]
#       actions:
#         description: What is asked for, each action with its parameters.
#         type: array
#         minItems: 1
#         items: &action
#           type: object
#           required: [action]
#           additionalProperties: false
#           properties:
#             action: {enum: [snapshot, annotate, label, isolate, detach, condemn, revoke, notify, cordon, suspend, scale, evict, delete]}
#             parameters: {type: object}
#         default: [{action: snapshot}, {action: isolate}, {action: condemn, parameters: {scope: digest}}, {action: notify}]
#       except:
#         description: >-
#           Whom it is not about: namespaces as globs; images as patterns of their repositories by segment (docker.io/library/*);
#           processes as globs of the path of the executable or, without a slash, of the name that a process gives itself.
#         type: object
#         additionalProperties: false
#         properties:
#           namespaces: &globs {type: array, items: {type: string, minLength: 1}}
#           images: *globs
#           processes: *globs
#         default: {}
package portcullis.runtime.drop_and_execute

import data.portcullis.lib.events

respond contains ask if {
	count(signs) > 0
	not events.excepted(input.parameters.except)
	some ask in events.asks(input.parameters.actions, signs)
}

signs contains sprintf("%s is not of the image", [events.process]) if {
	regex.match(`^(Drop and execute new binary in container|Fileless execution via memfd_create|Execution from /dev/shm)`, input.event.rule)
}

signs contains sprintf("%s is not of the image", [events.process]) if events.truth("proc.is_exe_upper_layer")

signs contains sprintf("%s is in memory only", [events.process]) if events.truth("proc.is_exe_from_memfd")

# The flags that Falco writes to a started program: EXE_WRITABLE|EXE_UPPER_LAYER.
signs contains sprintf("%s is not of the image", [events.process]) if {
	regex.match(`\bEXE_(UPPER_LAYER|FROM_MEMFD)\b`, events.text("evt.arg.flags"))
}

signs contains sprintf("%s runs from where no program should", [events.process]) if {
	some field in ["proc.exepath", "proc.exe"]
	path := events.text(field)
	path != ""
	some pattern in input.parameters.directories
	glob.match(pattern, null, path)
}
