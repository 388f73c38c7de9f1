// Stands before a server and adds its token to every request, for test suites that cannot send one: with-token.mjs PORT URL TOKEN
import http from 'node:http'

const [port, target, token] = process.argv.slice(2)
const { hostname, port: targetPort } = new URL(target)

http
  .createServer((request, response) => {
    const headers = { ...request.headers, authorization: `Bearer ${token}` }
    const onward = http.request(
      { hostname, port: targetPort, path: request.url, method: request.method, headers, setHost: false },
      (answer) => {
        response.writeHead(answer.statusCode, answer.headers)
        answer.pipe(response)
      },
    )
    onward.on('error', () => response.destroy())
    response.on('close', () => onward.destroy())
    request.pipe(onward)
  })
  .listen(Number(port), '127.0.0.1', () => console.log('ready'))
