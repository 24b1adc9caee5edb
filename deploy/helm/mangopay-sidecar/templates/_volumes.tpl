{{/* The sidecar's volumes, entries of a pod's volumes: {{- include "mangopay-sidecar.volumes" . | nindent 8 }} */}}
{{- define "mangopay-sidecar.volumes" -}}
{{- $sidecar := include "mangopay-sidecar.values" . | fromYaml -}}
- name: mangopay-sidecar
  secret: {secretName: {{ $sidecar.secretName }}, defaultMode: 0440}
- name: mangopay-sidecar-no-token
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- with $sidecar.mtls.secretName }}
- name: mangopay-sidecar-mtls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with $sidecar.redis.secretName }}
- name: mangopay-sidecar-redis
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with $sidecar.callerKey.secretName }}
- name: mangopay-sidecar-caller-key
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- if $sidecar.unixSocket.enabled }}
- name: mangopay-sidecar-socket
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- end }}
{{- end -}}
