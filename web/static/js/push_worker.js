// Shows a notification when a push arrives, and opens the sign-in page when it is pressed. It keeps nothing.

const SIGN_IN = "/staff";

self.addEventListener("push", (event) => {
  let told = { type: "alert", title: "A safeguarding alert needs you" };
  try {
    told = { ...told, ...event.data.json() };
  } catch {
    // unreadable: an alert, to be safe
  }
  const ring = told.type !== "try";
  event.waitUntil(self.registration.showNotification(told.title, {
    tag: told.type,
    renotify: true,
    requireInteraction: ring,
    vibrate: ring ? [400, 200, 400, 200, 400] : [200],
  }));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(self.clients.openWindow(SIGN_IN));
});
