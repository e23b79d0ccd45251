{{/*
The pod of a component: labels, security, probes and what all have in common. It is called with root, component, args, ports, mounts,
volumes (YAML lists as text) and grace, the seconds that it may take to end.
*/}}
{{- define "portcullis.podTemplate" -}}
{{- $values := get .root.Values .component -}}
{{- $security := .root.Values.podSecurity -}}
metadata:
  labels:
    {{- include "portcullis.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
  annotations:
    kubectl.kubernetes.io/default-container: {{ .component }}
    {{- if include "portcullis.hasBundle" . }}
    portcullis.dev/bundle: {{ include "portcullis.bundleChecksum" .root }}
    {{- end }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: portcullis-{{ .component }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .grace }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .root.Values.images.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    {{- if not (kindIs "invalid" $security.runAsUser) }}
    runAsUser: {{ int64 $security.runAsUser }}
    runAsGroup: {{ int64 $security.runAsUser }}
    {{- end }}
    {{- if not (kindIs "invalid" $security.fsGroup) }}
    fsGroup: {{ int64 $security.fsGroup }}
    fsGroupChangePolicy: OnRootMismatch
    {{- end }}
    seccompProfile: {{ default (dict "type" "RuntimeDefault") .seccomp | toJson }}
  {{- with $values.nodeSelector }}
  nodeSelector: {{ toJson . }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations: {{ toJson . }}
  {{- end }}
  {{- with $values.affinity }}
  affinity: {{ toJson . }}
  {{- end }}
  {{- if gt (int $values.replicas) 1 }}
  topologySpreadConstraints:
    {{- range list (list "kubernetes.io/hostname" .root.Values.topologySpread.nodes) (list "topology.kubernetes.io/zone" .root.Values.topologySpread.zones) }}
    - maxSkew: 1
      topologyKey: {{ index . 0 }}
      whenUnsatisfiable: {{ index . 1 }}
      labelSelector:
        matchLabels:
          {{- include "portcullis.selector" $ | nindent 10 }}
      matchLabelKeys: [{{ if $.stateful }}controller-revision-hash{{ else }}pod-template-hash{{ end }}]
    {{- end }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "portcullis.image" . }}
      imagePullPolicy: {{ .root.Values.images.pullPolicy }}
      args:
        {{- .args | trim | nindent 8 }}
        {{- if ne .component "console" }}
        {{- with .root.Values.telemetry }}
        - --log-format={{ .logFormat }}
        {{- with .otlpEndpoint }}
        - --otlp-endpoint={{ . }}
        - --trace-sample={{ $.root.Values.telemetry.sample }}
        {{- end }}
        {{- end }}
        {{- end }}
        {{- range $values.extraArgs }}
        - {{ . | quote }}
        {{- end }}
      {{- if and $values.resources.limits $values.resources.limits.memory (ne .component "scanner") }}
      env:
        # The collector works harder before the kernel kills, and before pages of the program itself go to and fro.
        - {name: GOMEMLIMIT, value: "{{ include "portcullis.heapMebibytes" $values.resources.limits.memory }}MiB"}
      {{- end }}
      ports:
        {{- with .ports }}
        {{- . | trim | nindent 8 }}
        {{- end }}
        {{- if ne .component "console" }}
        - {name: probes, containerPort: {{ include "portcullis.probesPort" . }}, protocol: TCP}
        {{- end }}
      {{- if eq .component "console" }}
      livenessProbe:
        httpGet: {path: /healthz, port: https, scheme: HTTPS}
        periodSeconds: 10
      readinessProbe:
        httpGet: {path: /healthz, port: https, scheme: HTTPS}
        periodSeconds: 5
      {{- else }}
      startupProbe:
        httpGet: {path: /livez, port: probes}
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /livez, port: probes}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: probes}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 2
      {{- end }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        privileged: false
        readOnlyRootFilesystem: true
        runAsNonRoot: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        {{- if eq .component "console" }}
        - {name: api-server-ca, mountPath: /api-server-ca, readOnly: true}
        {{- else }}
        - {name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
        {{- end }}
        - {name: tmp, mountPath: /tmp}
        {{- include "portcullis.sharedMounts" . | nindent 8 }}
        {{- with .mounts }}
        {{- . | trim | nindent 8 }}
        {{- end }}
  volumes:
    {{- if eq .component "console" }}
    # No token: it acts with those of the people who use it.
    - {name: api-server-ca, configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}}
    {{- else }}
    # What Kubernetes mounts by default, written out: a token that is bound to the pod and renewed every hour.
    - name: token
      projected:
        defaultMode: 0440
        sources:
          - serviceAccountToken: {path: token, expirationSeconds: 3607}
          - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
          - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
    {{- end }}
    - {name: tmp, emptyDir: {sizeLimit: 64Mi}}
    {{- include "portcullis.sharedVolumes" . | nindent 4 }}
    {{- with .volumes }}
    {{- . | trim | nindent 4 }}
    {{- end }}
{{- end }}

{{/* Flags about registries, which all components have. */}}
{{- define "portcullis.registryArgs" -}}
{{- $r := .root.Values.registries -}}
{{- if $r.credentialsSecret }}
- --registry-config=/registries/credentials/config.json
{{- end }}
{{- if and $r.trustedRootSecret (not (has .component (list "scanner" "console"))) }}
- --trusted-root=/registries/sigstore/trusted_root.json
{{- end }}
{{- if $r.caConfigMap }}
- --registry-ca=/registries/ca/ca.crt
{{- end }}
{{- range $r.mirrors }}
- --registry-mirror={{ . }}
{{- end }}
{{- range $r.allow }}
- --allow-registry={{ . }}
{{- end }}
{{- range $r.clusterNetworks }}
- --cluster-network={{ . }}
{{- end }}
{{- if $r.credentialProviders.configMap }}
- --credential-provider-config=/registries/providers/config.yaml
- --credential-provider-bin-dir=/registries/programs/bin
{{- end }}
{{- end }}

{{/* Flags about the bundle, of components that judge. */}}
{{- define "portcullis.bundleArgs" -}}
{{- $b := .root.Values.bundle -}}
{{- if eq $b.source "chart" }}
- --bundle=/bundle
- --bundle-interval=0
{{- else if eq $b.source "cluster" }}
- --bundle=cluster
- --bundle-cache=/bundle-cache
{{- else if eq $b.source "oci" }}
- --bundle={{ $b.reference }}
- --bundle-verification=/bundle-verification/verification.yaml
{{- end }}
{{- with $b.profile }}
- --profile={{ . }}
{{- end }}
{{- end }}

{{- define "portcullis.sharedMounts" -}}
{{- $r := .root.Values.registries -}}
{{- $b := .root.Values.bundle -}}
{{- if and $r.credentialsSecret (ne .component "console") }}
- {name: registry-credentials, mountPath: /registries/credentials, readOnly: true}
{{- end }}
{{- if and $r.trustedRootSecret (not (has .component (list "scanner" "console"))) }}
- {name: trusted-root, mountPath: /registries/sigstore, readOnly: true}
{{- end }}
{{- if and $r.caConfigMap (ne .component "console") }}
- {name: registry-ca, mountPath: /registries/ca, readOnly: true}
{{- end }}
{{- if and $r.credentialProviders.configMap (ne .component "console") }}
- {name: credential-providers, mountPath: /registries/providers, readOnly: true}
- {name: credential-programs, mountPath: /registries/programs, readOnly: true}
{{- end }}
{{- if include "portcullis.hasBundle" . }}
{{- if eq $b.source "chart" }}
# By subPath: a bundle holds regular files only, and what a ConfigMap mounts as a folder is made of links.
- {name: bundle, mountPath: /bundle/bundle.yaml, subPath: bundle.yaml, readOnly: true}
{{- else if and (eq $b.source "cluster") (ne .component "controller") }}
- {name: bundle-cache, mountPath: /bundle-cache}
{{- else if eq $b.source "oci" }}
- {name: bundle, mountPath: /bundle-verification, readOnly: true}
{{- end }}
{{- end }}
{{- end }}

{{- define "portcullis.sharedVolumes" -}}
{{- $r := .root.Values.registries -}}
{{- $b := .root.Values.bundle -}}
{{- if and $r.credentialsSecret (ne .component "console") }}
- {name: registry-credentials, secret: {secretName: {{ $r.credentialsSecret }}, defaultMode: 0440, items: [{key: .dockerconfigjson, path: config.json}]}}
{{- end }}
{{- if and $r.trustedRootSecret (not (has .component (list "scanner" "console"))) }}
- {name: trusted-root, secret: {secretName: {{ $r.trustedRootSecret }}, defaultMode: 0440, items: [{key: trusted_root.json, path: trusted_root.json}]}}
{{- end }}
{{- if and $r.caConfigMap (ne .component "console") }}
- {name: registry-ca, configMap: {name: {{ $r.caConfigMap }}, items: [{key: ca.crt, path: ca.crt}]}}
{{- end }}
{{- if and $r.credentialProviders.configMap (ne .component "console") }}
- {name: credential-providers, configMap: {name: {{ $r.credentialProviders.configMap }}, items: [{key: config.yaml, path: config.yaml}]}}
- {name: credential-programs, image: {reference: {{ $r.credentialProviders.image | quote }}, pullPolicy: IfNotPresent}}
{{- end }}
{{- if include "portcullis.hasBundle" . }}
{{- if and (eq $b.source "cluster") (ne .component "controller") }}
- {name: bundle-cache, emptyDir: {sizeLimit: 128Mi}}
{{- else if has $b.source (list "chart" "oci") }}
- {name: bundle, configMap: {name: portcullis-bundle}}
{{- end }}
{{- end }}
{{- end }}
