package oslo

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

// versionedNames are nova's versioned names of operations whose legacy name is not just "compute." and the same.
func versionedNames() map[string]string {
	return map[string]string{
		"compute.instance.finish_resize.start":  "instance.resize_finish.start",
		"compute.instance.finish_resize.end":    "instance.resize_finish.end",
		"compute.instance.rebuild.scheduled":    "instance.rebuild_scheduled",
		"compute.instance.resize.prep.start":    "instance.resize_prep.start",
		"compute.instance.resize.prep.end":      "instance.resize_prep.end",
		"compute.instance.resize.confirm.start": "instance.resize_confirm.start",
		"compute.instance.resize.confirm.end":   "instance.resize_confirm.end",
		"compute.instance.volume.attach":        "instance.volume_attach.end",
		"servergroup.create":                    "server_group.create",
		"servergroup.delete":                    "server_group.delete",
		"servergroup.addmember":                 "server_group.add_member",
		"aggregate.addhost.start":               "aggregate.add_host.start",
		"aggregate.addhost.end":                 "aggregate.add_host.end",
		"aggregate.removehost.start":            "aggregate.remove_host.start",
		"aggregate.removehost.end":              "aggregate.remove_host.end",
		"aggregate.updatemetadata.start":        "aggregate.update_metadata.start",
		"aggregate.updatemetadata.end":          "aggregate.update_metadata.end",
		"aggregate.updateprop.start":            "aggregate.update_prop.start",
		"aggregate.updateprop.end":              "aggregate.update_prop.end",
		"compute_task.build_instances":          "compute_task.build_instances.error",
		"compute_task.migrate_server":           "compute_task.migrate_server.error",
	}
}

// onlyLegacy are the kinds of targets that nova's versioned notification of the operation has no field for.
func onlyLegacy(eventType string) string {
	switch eventType {
	case "aggregate.addhost.start", "aggregate.addhost.end", "aggregate.removehost.start", "aggregate.removehost.end":
		return "host" // the versioned one lists all hosts of the aggregate
	case "servergroup.addmember":
		return "instance" // as above: all members
	}
	return ""
}

// Nova sends everything in both formats when told to. What a subscriber reads is the same, whichever it is.
func TestBothFormatsOfNova(t *testing.T) {
	legacy, versioned := map[string][]event.Event{}, map[string][]event.Event{}
	for _, file := range []string{"testdata/recorded/nova.jsonl", "testdata/recorded/nova_more.jsonl"} {
		for _, r := range readRecordings(t, file) {
			e := convert(t, r.Body)
			if strings.HasPrefix(r.RoutingKeys[0], "versioned_") {
				versioned[e.EventType] = append(versioned[e.EventType], e)
			} else {
				legacy[e.EventType] = append(legacy[e.EventType], e)
			}
		}
	}
	pairs := 0
	for eventType, events := range legacy {
		other, ok := versionedNames()[eventType]
		if !ok {
			other = strings.TrimPrefix(eventType, "compute.")
		}
		for _, e := range events {
			for _, v := range versioned[other] {
				if v.Context.RequestID == e.Context.RequestID && v.Priority == e.Priority {
					pairs++
					compareFormats(t, e, v)
					break
				}
			}
		}
	}
	if pairs < 50 {
		t.Errorf("compared only %d pairs", pairs)
	}
}

func compareFormats(t *testing.T, legacy, versioned event.Event) {
	t.Helper()
	type shown struct {
		Context                       event.Context
		Targets                       []event.Target
		Chain, Group, Level, Priority string
	}
	of := func(e event.Event) shown {
		return shown{*e.Context, e.Targets, e.ChainID, e.Group, e.Level, e.Priority}
	}
	want, got := of(legacy), of(versioned)
	if kind := onlyLegacy(legacy.EventType); kind != "" {
		want.Targets = nil
		for _, target := range legacy.Targets {
			if target.Kind != kind {
				want.Targets = append(want.Targets, target)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s and %s (-legacy +versioned)\n%s", legacy.EventType, versioned.EventType, diff)
	}
	if legacy.Message != versioned.Message && legacy.Message != "" && versioned.Message != "" {
		t.Errorf("%s says %q, %s %q", legacy.EventType, legacy.Message, versioned.EventType, versioned.Message)
	}
}

// All names that nova 26 has in both formats, recorded or not, are in the same group and on the same level.
func TestNamesOfNova(t *testing.T) {
	names := versionedNames()
	for _, operation := range []string{
		"create.start", "create.end", "create.error", "delete.start", "delete.end", "exists", "update",
		"pause.start", "pause.end", "unpause.start", "unpause.end", "suspend.start", "suspend.end", "resume.start", "resume.end",
		"power_off.start", "power_off.end", "power_on.start", "power_on.end", "reboot.start", "reboot.end", "reboot.error",
		"rebuild.start", "rebuild.end", "rebuild.error", "resize.start", "resize.end", "resize.error",
		"rescue.start", "rescue.end", "unrescue.start", "unrescue.end", "restore.start", "restore.end",
		"shelve.start", "shelve.end", "shelve_offload.start", "shelve_offload.end", "unshelve.start", "unshelve.end",
		"shutdown.start", "shutdown.end", "snapshot.start", "snapshot.end", "soft_delete.start", "soft_delete.end",
		"trigger_crash_dump.start", "trigger_crash_dump.end", "evacuate", "lock", "unlock",
	} {
		names["compute.instance."+operation] = "instance." + operation
	}
	for legacy, versioned := range map[string]string{
		"resize.revert.start": "resize_revert.start", "resize.revert.end": "resize_revert.end",
		"live_migration.pre.start": "live_migration_pre.start", "live_migration.pre.end": "live_migration_pre.end",
		"live_migration._post.start": "live_migration_post.start", "live_migration._post.end": "live_migration_post.end",
		"live_migration.post.dest.start":     "live_migration_post_dest.start",
		"live_migration.post.dest.end":       "live_migration_post_dest.end",
		"live_migration._rollback.start":     "live_migration_rollback.start",
		"live_migration._rollback.end":       "live_migration_rollback.end",
		"live_migration.rollback.dest.start": "live_migration_rollback_dest.start",
		"live_migration.rollback.dest.end":   "live_migration_rollback_dest.end",
		"live.migration.abort.start":         "live_migration_abort.start",
		"live.migration.abort.end":           "live_migration_abort.end",
		"live.migration.force.complete.end":  "live_migration_force_complete.end",
		"volume.detach":                      "volume_detach.end",
	} {
		names["compute.instance."+legacy] = "instance." + versioned
	}
	names["compute.metrics.update"] = "metrics.update"
	for legacy, versioned := range names {
		priority := "INFO"
		if strings.HasSuffix(versioned, "error") {
			priority = "ERROR"
		}
		body := func(eventType string) string {
			return notification(t, `{"message_id":"m","event_type":"`+eventType+`","priority":"`+priority+`","payload":{}}`)
		}
		l, v := convert(t, body(legacy)), convert(t, body(versioned))
		if l.Group != v.Group || l.Level != v.Level || l.Group == "" {
			t.Errorf("%s: %s, %s; %s: %s, %s", legacy, l.Group, l.Level, versioned, v.Group, v.Level)
		}
	}
}
