<?php

declare(strict_types=1);

namespace Jackfield\Compat;

use Jackfield\Client;
use Jackfield\Exception\InvalidRequestException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\RemoteException;
use Jackfield\Options;

use function get_object_vars, getmypid, is_array, is_int, is_object, is_string;

/**
 * Replaces a class `UnixSocketReader` that packs frames itself, without changes of its call sites.
 *
 * docs/migrating.md compares the two. New code uses the client itself. The parameters have no types
 * and the methods no return types, so that subclasses of the replaced class remain valid.
 */
class UnixSocketReader
{
    private const DEFAULT_SOCKET = '/run/jackfield/jackfield.sock';

    /** Time-out of a call, in seconds. The replaced class had none, or 30 s. */
    private const TIMEOUT = 30.0;

    /** @var int maximum number of connections: of calls, and separately of getConnection() */
    protected $maxPoolSize = 20;

    private readonly Client $client;
    private readonly SocketPool $sockets;

    /** Process that has sent async requests; 0: none. */
    private int $processId = 0;

    /**
     * @param string       $socket  path of the socket, or `unix:///path`
     * @param Options|null $options null: a time-out of 30 s, and at most $maxPoolSize connections
     */
    public function __construct(string $socket = self::DEFAULT_SOCKET, ?Options $options = null)
    {
        $options ??= new Options(timeout: self::TIMEOUT, maxConnections: $this->maxPoolSize);
        $this->client = Client::connect($socket, $options);
        $this->sockets = new SocketPool($socket, $options->timeout, $this->maxPoolSize);
    }

    /**
     * Sends a request and returns its reply.
     *
     * @param array<string, mixed>|object $message `method`, and optionally `params` and `id`
     *
     * @return array<string, mixed> `['result' => …]`, or `['error' => ['code' => …, …]]`, with the
     *                              `id` of the message if it has one
     *
     * @throws JackfieldException if there is no reply: a \RuntimeException, or an
     *                            \InvalidArgumentException if the message cannot be sent
     */
    public function sendAndReceive($message)
    {
        $message = self::request($message);

        try {
            $params = $message['params'] ?? null;
            $reply = ['result' => $this->client->call($message['method'], $params)];
        } catch (RemoteException $error) {
            $reply = ['error' => ['code' => $error->getCode(), 'message' => $error->getMessage()]];
            if ($error->data() !== null) {
                $reply['error']['data'] = $error->data();
            }
        }

        return isset($message['id']) ? ['id' => $message['id']] + $reply : $reply;
    }

    /**
     * Sends a request and returns without waiting for the reply.
     *
     * The callback is called once: by a later call of this object, by asyncReadLoop(), or at the
     * latest by the destructor. See Client::sendAsync() for the reply when none arrived.
     *
     * @param array<string, mixed>|object          $message  `method`, and optionally `params`
     * @param callable(array<string, mixed>): mixed $callback receives the reply, which has the `id`
     *
     * @return string the id of the request
     *
     * @throws JackfieldException as sendAndReceive()
     */
    public function sendAsync($message, callable $callback)
    {
        // Calls the callbacks of earlier requests, for programs that only send. This request is not
        // among them: its callback must not run before the caller has its id.
        $this->client->tick();
        $this->processId = (int) getmypid();

        return $this->client->sendAsync(self::request($message), $callback);
    }

    /**
     * Waits until every callback was called. Each call has a time-out, so this ends.
     *
     * @param mixed $socket not used
     */
    public function asyncReadLoop($socket = null)
    {
        $this->client->run();
    }

    /**
     * Returns a connection for frames that the caller writes and reads itself.
     *
     * It is blocking, and its reads and writes fail after the time-out. Pass it to release().
     *
     * @return \Socket
     *
     * @throws JackfieldException|\RuntimeException if no connection can be made, or too many are in
     *                                              use
     */
    public function getConnection()
    {
        return $this->sockets->take();
    }

    /**
     * Keeps a connection for the next getConnection(), or closes it if bytes wait in it or its peer
     * has closed it.
     *
     * @param \Socket $socket
     */
    public function release($socket)
    {
        $this->sockets->release($socket);
    }

    public function __destruct()
    {
        // A child process leaves the calls of its parent alone.
        if ($this->client->pending() > 0 && $this->processId === getmypid()) {
            $this->client->run();
        }
    }

    /**
     * @return array{method: string, params?: mixed, id?: mixed, timestamp?: int}
     *
     * @throws InvalidRequestException
     */
    private static function request(mixed $message): array
    {
        if (is_object($message)) {
            $message = $message instanceof \JsonSerializable ? $message->jsonSerialize() : get_object_vars($message);
        }
        if (!is_array($message) || !is_string($message['method'] ?? null)) {
            throw new InvalidRequestException('a message needs a string "method"');
        }
        if (!is_int($message['timestamp'] ?? null)) {
            unset($message['timestamp']);
        }

        return $message;
    }
}
