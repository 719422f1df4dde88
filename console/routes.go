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
	c.page(one+"/history.json", (*page).queueHistory)
	c.page("/ns/{ns}/history.json", (*page).namespaceHistory)
	c.page(one+"/tail", (*page).tailPage)
	c.mux.HandleFunc("GET "+Prefix+one+"/tail/events", c.tail)
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

	const topics, topic, sub = "/ns/{ns}/topics", "/ns/{ns}/topics/{topic}", "/ns/{ns}/topics/{topic}/subscriptions/{subscription}"
	c.page(topics, (*page).topics)
	c.action(topics, (*page).createTopic)
	c.page(topic, (*page).topicOverview)
	c.page(topic+"/publish", (*page).publishForm)
	c.action(topic+"/publish", (*page).publish)
	c.action(topic+"/subscriptions", (*page).subscribe)
	c.action(topic+"/confirm", (*page).confirm)
	c.page(topic+"/danger", (*page).topicDanger)
	c.action(topic+"/delete", (*page).deleteTopic)
	c.page(sub, (*page).subscription)
	c.action(sub, (*page).changeSubscription)
	c.action(sub+"/ask", (*page).askAgain)
	c.action(sub+"/test", (*page).testFilter)
	c.action(sub+"/delete", (*page).unsubscribe)

	c.page("/ns/{ns}/credentials", (*page).credentials)
	c.action("/ns/{ns}/credentials", (*page).createCredential)
	c.action("/ns/{ns}/credentials/{credential}/rotate", (*page).rotate)
	c.action("/ns/{ns}/credentials/{credential}/revoke", (*page).revoke)
	c.page("/ns/{ns}/connect", (*page).connect)

	c.page("/audit", (*page).audit)
	c.page("/audit.jsonl", (*page).exportAudit)
	c.page("/admin/projects", (*page).adminProjects)
	c.action("/admin/projects", (*page).createProject)
	c.page("/admin/keys", (*page).adminKeys)
	c.action("/admin/keys", (*page).createKey)
	c.page("/admin/users", (*page).adminUsers)
	c.action("/admin/users", (*page).createUser)
	c.action("/admin/users/{name}/password", (*page).setPassword)
	c.action("/admin/{kind}/{name}/delete", (*page).deleteAdmin)

	c.mux.HandleFunc(Prefix+"/", func(w http.ResponseWriter, r *http.Request) {
		p := c.visitor(w, r)
		if err := p.signedIn(); err != nil {
			c.fail(p, err)
			return
		}
		c.fail(p, &problem{Status: http.StatusNotFound, Message: "There is no such page."})
	})
}
