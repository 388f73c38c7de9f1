// Stands before a server and adds its token to every request, for test suites that cannot send one: with-token.mjs URL TOKEN
// Prints where it listens.
import http from 'node:http'

const [target, token] = process.argv.slice(2)
const { hostname, port } = new URL(target)

const front = http.createServer((request, response) => {
  const headers = { ...request.headers, authorization: `Bearer ${token}` }
  const onward = http.request(
    { hostname, port, path: request.url, method: request.method, headers, setHost: false },
    (answer) => {
      response.writeHead(answer.statusCode, answer.headers)
      answer.pipe(response)
    },
  )
  onward.on('error', () => response.destroy())
  response.on('close', () => onward.destroy())
  request.pipe(onward)
})
front.listen(0, '127.0.0.1', () => console.log(`127.0.0.1:${front.address().port}`))
