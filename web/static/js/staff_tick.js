// A worker that only counts seconds. Browsers slow the timers of a page that is out of sight; a duty must be
// renewed and an alarm must ring there too, and a worker's timers keep their pace.
setInterval(() => postMessage(Date.now()), 1000);
