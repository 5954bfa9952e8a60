//go:build race

package whatsapp_test

// many is how many links a test opens at once: pairing them takes long under the race detector.
const many = 12
