package core

import "math/rand/v2"

// Classes is the number of classes that a lane's deliveries fall into: four priorities, each with its
// first attempts and its retries.
const Classes = 8

// Class is a delivery's class: priority*2, and one more for a retry.
func Class(p Priority, attempts int) int {
	class := int(p) * 2
	if attempts > 0 {
		class++
	}
	return class
}

var priorityWeights = [...]int{PriorityUrgent: 8, PriorityHigh: 4, PriorityNormal: 2, PriorityLow: 1}

// SharePriorities shares the room of a lane among its waiting deliveries by class. First attempts and
// retries share 9:1, and within each the priorities 8:4:2:1, counted over the classes that have
// something waiting. No room is left unused while anything waits.
//
// Most claims have room for one or two, where whole numbers can't show a weight of 1 in 15: the
// parts that are less than one are drawn by lot. So every class that has something waiting gets its
// share over many claims, without any state between them.
func SharePriorities(room int, waiting [Classes]int) [Classes]int {
	return sharePriorities(room, waiting, rand.Uint64())
}

// sharePriorities gives each class its share rounded up or down as the lot says. Where a class has less
// waiting than its share, the rest is shared again among the others; each turn of the loop uses up the
// room or a class.
func sharePriorities(room int, waiting [Classes]int, lot uint64) [Classes]int {
	var given [Classes]int
	for room > 0 {
		weights, total := classWeights(waiting)
		if total == 0 {
			break
		}
		// The classes lie side by side on a line of length room*total, each as long as its weight
		// times the room. A comb with a tooth at every total, shifted by the lot, has exactly room
		// teeth on the line; a class gets those that fall on it.
		shift := int(lot % uint64(total)) //nolint:gosec // total is a positive sum of weights
		start, left := 0, room
		for class, weight := range weights {
			end := start + weight*room
			n := min(teeth(end, shift, total)-teeth(start, shift, total), waiting[class])
			given[class] += n
			waiting[class] -= n
			left -= n
			start = end
		}
		room = left
	}
	return given
}

// teeth counts the numbers shift, shift+total, shift+2*total… that are less than end.
func teeth(end, shift, total int) int {
	if end <= shift {
		return 0
	}
	return (end-shift-1)/total + 1
}

// classWeights returns the weights of the classes that have something waiting, and their sum. Each side,
// first attempts and retries, is scaled by the other's sum, which makes the sides 9:1 in whole numbers.
func classWeights(waiting [Classes]int) (weights [Classes]int, total int) {
	var sums [2]int
	for class, n := range waiting {
		if n > 0 {
			sums[class%2] += priorityWeights[class/2]
		}
	}
	scales := [2]int{9 * max(sums[1], 1), max(sums[0], 1)}
	for class, n := range waiting {
		if n > 0 {
			weights[class] = priorityWeights[class/2] * scales[class%2]
			total += weights[class]
		}
	}
	return weights, total
}
