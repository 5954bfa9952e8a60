package domain

// InstanceTokenPlace is what an instance's sealed token is bound to, so that it does not open elsewhere: its
// own row.
func InstanceTokenPlace(account, instance ID) []byte {
	return instancePlace(account, instance, "token")
}

// InstanceProxyPlace is what the sealed URL of an instance's proxy is bound to.
func InstanceProxyPlace(account, instance ID) []byte {
	return instancePlace(account, instance, "proxy")
}

func instancePlace(account, instance ID, column string) []byte {
	return []byte(account.String() + "|instances|" + column + "|" + instance.String())
}

// WebhookSecretPlace is what the sealed secret of a webhook is bound to.
func WebhookSecretPlace(account, webhook ID) []byte {
	return []byte(account.String() + "|webhooks|secret|" + webhook.String())
}
