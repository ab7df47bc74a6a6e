package openstacktest

import (
	"context"
	"net/http"
	"strings"

	"stackstream/event"
)

// images makes an image, uploads it, changes it, shares it, reads it and deletes it. Glance does not say who did
// something, only whose the image is.
func (c *client) images(ctx context.Context, name string) error {
	s := c.script(ctx)
	image := s.createImage(name)
	if s.err != nil {
		return s.err
	}
	tell := func(does ...string) []Event { return imageEvents(image, s.projectID, does...) }
	url := s.glance("/" + image)
	s.uploadImage(image)
	s.patchImage(url, "name", "renamed", tell("update"))
	s.patchImage(url, "visibility", "shared", tell("update"))
	other := s.cloud.project // whom it is shared with
	member := url + "/members/" + other
	s.do("add member", http.MethodPost, url+"/members", object{"member": other}, imageEvents(image, other, "member.create")...)
	s.do("accept image", http.MethodPut, member, object{"status": "accepted"}, imageEvents(image, other, "member.update")...)
	s.do("remove member", http.MethodDelete, member, nil, imageEvents(image, other, "member.delete")...)
	sent := tell("send")
	sent[0].User, sent[0].Project = c.userID, c.projectID // who it was sent to
	s.download(url+"/file", sent)
	s.do("deactivate image", http.MethodPost, url+"/actions/deactivate", nil, tell("update")...)
	s.do("reactivate image", http.MethodPost, url+"/actions/reactivate", nil, tell("update")...)
	s.do("delete image", http.MethodDelete, url, nil, tell("delete")...)
	return s.err
}

func (c *client) glance(path string) string { return c.cloud.url(Glance) + "/v2/images" + path }

// patchImage changes a field of an image.
func (s *script) patchImage(url, field, value string, follows []Event) {
	const patchType = "application/openstack-images-v2.1-json-patch"
	change := `[{"op": "replace", "path": "/` + field + `", "value": "` + value + `"}]`
	s.send("change image", http.MethodPatch, url, patchType, []byte(change), nil, func() []Event { return follows })
}

// download reads an image. Glance tells it without the id of the request.
func (s *script) download(url string, follows []Event) {
	if s.err != nil {
		return
	}
	o := s.ledger.begin("download image")
	if s.err = s.call(s.ctx, http.MethodGet, url, nil, nil); s.err == nil {
		o.done(follows...)
	}
}

// createImage makes an image without content and returns its id.
func (s *script) createImage(name string) string {
	var image struct{ ID string }
	fields := object{"name": name, "disk_format": "raw", "container_format": "bare", "os_distro": "debian"}
	s.ask("create image", http.MethodPost, s.glance(""), fields, &image, func() []Event {
		return imageEvents(image.ID, s.projectID, "create")
	})
	return image.ID
}

// uploadImage fills an image.
func (s *script) uploadImage(image string) {
	content := []byte(strings.Repeat("image ", 20_000))
	s.send("upload image", http.MethodPut, s.glance("/"+image+"/file"), "application/octet-stream", content, nil, func() []Event {
		return imageEvents(image, s.projectID, "update", "prepare", "upload", "activate", "update")
	})
}

// imageEvents are those of an image and a project: its owner, or whom it is shared with.
func imageEvents(image, project string, does ...string) []Event {
	var events []Event
	for _, d := range does {
		events = append(events, Event{Type: "image." + d, Targets: []event.Target{target("image", image), target("project", project)}})
	}
	return events
}

// bootImage makes an image for servers. Nobody keeps account of it.
func (c *Cloud) bootImage(ctx context.Context) (id string, err error) {
	admin, err := c.logIn(ctx, nil, admin())
	if err != nil {
		return "", err
	}
	s := admin.script(ctx)
	id = s.createImage("boot")
	s.uploadImage(id)
	return id, s.err
}
