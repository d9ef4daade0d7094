"""What runs on nodes, asked over its own interfaces (JMX, WebHDFS), through a provider. Changes no node."""
