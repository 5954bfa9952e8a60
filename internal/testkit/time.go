package testkit

import "time"

// Pass lets fake time pass. Helpers of tests call it where they run inside a testing/synctest bubble;
// it panics in real time, where waiting for a condition is right and sleeping is not.
func Pass(d time.Duration) {
	// A bubble's clock begins in the year 2000.
	if time.Now().Year() > 2015 {
		panic("testkit: Pass sleeps in real time: call it inside synctest.Test")
	}
	time.Sleep(d)
}
