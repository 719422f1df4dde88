package console

import "net/http"

// routes lists every page and every form.
func (c *Console) routes() {
	c.open("/assets/{hash}/{file}", (*page).asset)
	c.open("/sign-in", (*page).signInForm)
	c.open("POST /sign-in", (*page).signIn)
	c.open("POST /theme", (*page).setTheme)
	c.action("/sign-out", (*page).signOut)

	c.page("/{$}", (*page).overview)
	c.page("/namespaces", (*page).namespaces)
	c.action("/namespaces", (*page).createNamespace)
	c.page("/ns/{ns}", (*page).namespacePage)

	const queues, one = "/ns/{ns}/queues", "/ns/{ns}/queues/{queue}"
	c.page(queues, (*page).queues)
	c.page("/ns/{ns}/new-queue", (*page).newQueue)
	c.action("/ns/{ns}/new-queue", (*page).createQueue)
	c.page(one, (*page).queueOverview)
	c.page(one+"/messages", (*page).messages)
	c.page(one+"/messages/{sequence}", (*page).message)
	c.page(one+"/send", (*page).sendForm)
	c.action(one+"/send", (*page).send)
	c.page(one+"/dead-letters", (*page).deadLetters)
	c.action(one+"/dead-letters", (*page).redrive)
	c.page(one+"/settings", (*page).settings)
	c.action(one+"/settings", (*page).changeSettings)
	c.page(one+"/danger", (*page).danger)
	c.action(one+"/purge", (*page).purge)
	c.action(one+"/delete", (*page).deleteQueue)

	c.page("/ns/{ns}/tasks", (*page).tasks)
	c.action("/ns/{ns}/tasks/{task}/cancel", (*page).cancelTask)

	c.mux.HandleFunc(Prefix+"/", func(w http.ResponseWriter, r *http.Request) {
		p := c.visitor(w, r)
		if err := p.signedIn(); err != nil {
			c.fail(p, err)
			return
		}
		c.fail(p, &problem{Status: http.StatusNotFound, Message: "There is no such page."})
	})
}
