package oversight

import "tarn/keys/reidentify"

// people tells who is one person: all accounts that share an issuer and subject, or a user
// id, also by way of others, as [reidentify.History] does.
type people struct {
	accounts map[account]int
	users    map[string]int
	parent   []int
}

type account struct{ issuer, subject string }

func newPeople() *people { return &people{accounts: map[account]int{}, users: map[string]int{}} }

func (p *people) fresh() int {
	p.parent = append(p.parent, len(p.parent))
	return len(p.parent) - 1
}

func (p *people) root(i int) int {
	for p.parent[i] != i {
		p.parent[i] = p.parent[p.parent[i]]
		i = p.parent[i]
	}
	return i
}

// join makes a person's account, and what it shares a user id with, one, and returns its
// node.
func (p *people) join(who *reidentify.Person) int {
	key := account{who.Issuer, who.Subject}
	node, there := p.accounts[key]
	if !there {
		node = p.fresh()
		p.accounts[key] = node
	}
	if who.UserID == "" {
		return node
	}
	if other, there := p.users[who.UserID]; there {
		p.parent[p.root(other)] = p.root(node)
	} else {
		p.users[who.UserID] = node
	}
	return node
}

// find returns the node of somebody who has joined, by either name.
func (p *people) find(who *reidentify.Person) (node int, there bool) {
	if node, there = p.accounts[account{who.Issuer, who.Subject}]; there || who.UserID == "" {
		return node, there
	}
	node, there = p.users[who.UserID]
	return node, there
}

// same reports whether two who have joined are one.
func (p *people) same(a, b *reidentify.Person) bool {
	x, _ := p.find(a)
	y, _ := p.find(b)
	return p.root(x) == p.root(y)
}

// count is how many different people have joined.
func (p *people) count() (n int) {
	for i, parent := range p.parent {
		if i == parent {
			n++
		}
	}
	return n
}
