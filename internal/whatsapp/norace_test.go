//go:build !race

package whatsapp_test

// many is how many links a test opens at once.
const many = 50
