{{/* The container, an entry of a pod's initContainers: {{- include "mangopay-sidecar.container" . | nindent 8 }} */}}
{{- define "mangopay-sidecar.container" -}}
{{- $sidecar := include "mangopay-sidecar.values" . | fromYaml -}}
{{- $version := (index .Subcharts "mangopay-sidecar").Chart.AppVersion -}}
- name: mangopay-sidecar
  # A native sidecar: started before the app, stopped after it, and no reason for a Job not to end.
  restartPolicy: Always
  image: "{{ $sidecar.image.repository }}:{{ $sidecar.image.tag | default $version }}"
  {{- with $sidecar.image.pullPolicy }}
  imagePullPolicy: {{ . }}
  {{- end }}
  envFrom:
    - configMapRef: {name: {{ include "mangopay-sidecar.configMapName" . }}}
  env:
    - {name: SIDECAR_MANGOPAY_API_KEY_FILE, value: /run/secrets/mangopay-sidecar/api-key}
    {{- if $sidecar.unixSocket.enabled }}
    - {name: SIDECAR_LISTEN_PORT, value: "off"}
    - {name: SIDECAR_LISTEN_UNIX_SOCKET, value: /run/mangopay-sidecar/proxy.sock}
    - {name: SIDECAR_LISTEN_UNIX_SOCKET_MODE, value: "0666"}
    # And the sidecar's own, for mangopay-sidecar reconcile. Numbers come as floats, which would be written as 1e+06.
    - {name: SIDECAR_LISTEN_ALLOWED_UIDS, value: "{{ range $sidecar.unixSocket.allowedUids }}{{ int64 . }},{{ end }}65532"}
    {{- else }}
    - {name: SIDECAR_LISTEN_PORT, value: "18080"}
    {{- end }}
    - {name: SIDECAR_ADMIN_PORT, value: "19090"}
    - name: POD_IP
      valueFrom: {fieldRef: {fieldPath: status.podIP}}
    # Probes and Prometheus come to the pod's address; /status goes to loopback only.
    - {name: SIDECAR_ADMIN_HOST, value: "127.0.0.1,$(POD_IP)"}
    {{- if $sidecar.mtls.secretName }}
    - {name: SIDECAR_TLS_CLIENT_CERT_FILE, value: /run/secrets/mangopay-sidecar-mtls/tls.crt}
    - {name: SIDECAR_TLS_CLIENT_KEY_FILE, value: /run/secrets/mangopay-sidecar-mtls/tls.key}
    {{- end }}
    {{- if $sidecar.redis.secretName }}
    - {name: SIDECAR_TOKEN_STORE_FILE, value: /run/secrets/mangopay-sidecar-redis/url}
    {{- end }}
    {{- if $sidecar.callerKey.secretName }}
    - {name: SIDECAR_LISTEN_CALLER_KEY_FILE, value: /run/secrets/mangopay-sidecar-caller-key/caller-key}
    {{- end }}
  ports:
    - {name: sidecar-admin, containerPort: 19090, protocol: TCP}
  {{- include "mangopay-sidecar.checks" . | nindent 2 }}
  resources:
    {{- toYaml $sidecar.resources | nindent 4 }}
  securityContext:
    runAsUser: 65532
    # root's group, without any right of root's: it reads the Secret (root:root 0440), whether or not there is an fsGroup.
    runAsGroup: 0
    runAsNonRoot: true
    readOnlyRootFilesystem: true
    allowPrivilegeEscalation: false
    privileged: false
    capabilities: {drop: [ALL]}
    seccompProfile: {type: RuntimeDefault}
  volumeMounts:
    - {name: mangopay-sidecar, mountPath: /run/secrets/mangopay-sidecar, readOnly: true}
    # Where something is mounted already Kubernetes puts no token of the pod's service account.
    - {name: mangopay-sidecar-no-token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
    {{- if $sidecar.mtls.secretName }}
    - {name: mangopay-sidecar-mtls, mountPath: /run/secrets/mangopay-sidecar-mtls, readOnly: true}
    {{- end }}
    {{- if $sidecar.redis.secretName }}
    - {name: mangopay-sidecar-redis, mountPath: /run/secrets/mangopay-sidecar-redis, readOnly: true}
    {{- end }}
    {{- if $sidecar.callerKey.secretName }}
    - {name: mangopay-sidecar-caller-key, mountPath: /run/secrets/mangopay-sidecar-caller-key, readOnly: true}
    {{- end }}
    {{- if $sidecar.unixSocket.enabled }}
    - {name: mangopay-sidecar-socket, mountPath: /run/mangopay-sidecar}
    {{- end }}
{{- end -}}

{{/* The container's probes. /healthz for all three: a locked Mangopay account must not take the app out of service. */}}
{{- define "mangopay-sidecar.checks" -}}
startupProbe:
  httpGet: {path: /healthz, port: sidecar-admin}
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /healthz, port: sidecar-admin}
  periodSeconds: 5
  timeoutSeconds: 2
  failureThreshold: 3
livenessProbe:
  httpGet: {path: /healthz, port: sidecar-admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}
