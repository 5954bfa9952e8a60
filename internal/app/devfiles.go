package app

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Dev's files in the data directory, readable by the user only.
const (
	sampleFile  = "dev.json"     // holds the sample's keys in clear
	runningFile = "dev-run.json" // where dev can be reached; there while it runs
)

// Running says where a running dev can be reached.
type Running struct {
	URL        string `json:"url"`
	AdminURL   string `json:"adminUrl"`
	ControlURL string `json:"controlUrl"` // of the fake WhatsApp
}

// ReadRunning reads where the dev of a data directory can be reached, and the sample whose keys it takes. It is
// fs.ErrNotExist when none runs there; one that was killed may seem to.
func ReadRunning(dir string) (Running, Sample, error) {
	var r Running
	if err := readJSON(dir, runningFile, &r); err != nil {
		return r, Sample{}, err
	}
	var s Sample
	err := readJSON(dir, sampleFile, &s)
	return r, s, err
}

func readJSON(dir, name string, v any) error {
	text, err := os.ReadFile(filepath.Join(dir, name)) // #nosec G304 -- the user's own directory
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// writeJSON writes the whole file or none of it. publish gives the finished file its name: os.Rename, or
// os.Link not to replace another one.
func writeJSON(dir, name string, v any, publish func(from, to string) error) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, "."+name+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = publish(file.Name(), filepath.Join(dir, name))
	}
	if gone := os.Remove(file.Name()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

func (d *Dev) writeRunning() error {
	return writeJSON(d.dir, runningFile, Running{URL: d.URL(), AdminURL: d.AdminURL(), ControlURL: d.ControlURL()}, os.Rename)
}

func (d *Dev) removeRunning() error {
	if err := os.Remove(filepath.Join(d.dir, runningFile)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
