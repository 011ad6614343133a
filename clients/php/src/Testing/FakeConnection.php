<?php

declare(strict_types=1);

namespace Jackfield\Testing;

use Jackfield\Bytes;
use Jackfield\Exception\RemoteException;
use Jackfield\Wire\Block;
use Jackfield\Wire\Code;
use Jackfield\Wire\Header;
use Jackfield\Wire\Hello;

/**
 * The host's end of one connection to a FakeHost: it reads frames and writes the replies.
 *
 * @internal
 */
final class FakeConnection
{
    private const VERSION_1_2 = 0x0102;
    private const BLOCK_BIT = 0x80;

    /** Offset of the wish in a hello, and of the nonce. */
    private const WISH_OFFSET = 8;
    private const NONCE_OFFSET = 24;

    private const MAX_PAYLOAD = 16_777_216;
    private const MAX_IN_FLIGHT = 1_024;

    /** Capabilities that the client wished for and the host has. */
    private int $granted = 0;

    /** Bytes of an incomplete frame. */
    private string $received = '';

    private bool $isGoingAway = false;

    /** @var array<string, array{int, int, string}> version, kind and method of open requests */
    private array $unanswered = [];

    public function __construct(private readonly FakeHost $host)
    {
    }

    /**
     * Takes bytes of the client and returns those that answer them.
     *
     * @param bool $isClosed whether the host closes the connection behind these bytes
     */
    public function receive(string $bytes, bool &$isClosed): string
    {
        $this->received .= $bytes;
        $answers = '';
        while (!$isClosed && strlen($this->received) >= Header::LENGTH) {
            ['version' => $version, 'kind' => $kind, 'length' => $length] = unpack(
                'nversion/Ckind/Nlength',
                $this->received
            );
            if (strlen($this->received) < Header::LENGTH + $length) {
                break;
            }

            $payload = substr($this->received, Header::LENGTH, $length);
            $this->received = substr($this->received, Header::LENGTH + $length);
            $answer = $this->answer($version, $kind, $payload);
            $isClosed = $answer === null;
            $answers .= $answer ?? '';
        }

        return $answers;
    }

    /**
     * Returns the bytes that announce the end of the host. Later requests are not run.
     */
    public function goAway(): string
    {
        $this->isGoingAway = true;

        return ($this->granted & Hello::GOING_AWAY) !== 0
            ? self::frame(self::VERSION_1_2, Header::GOING_AWAY, '{"reason":"shutdown","grace_ms":5000}')
            : '';
    }

    private function answer(int $version, int $kind, string $payload): ?string
    {
        if ($kind === Header::HEARTBEAT) {
            return self::frame($version, Header::HEARTBEAT, $this->acknowledgement($payload));
        }
        if ($kind === Header::CANCEL) {
            return $this->cancel($payload);
        }

        $bytes = null;
        if (isset(Block::KINDS[$kind])) {
            $kind = Block::KINDS[$kind];
            $block = Block::parse($payload);
            $payload = substr($payload, $block->length);
            if ($block->isBytes) {
                $end = 4 + unpack('N', $payload)[1];
                $bytes = substr($payload, $end);
                $bytes = new Bytes($bytes);
                $payload = substr($payload, 4, $end - 4);
            }
        }

        $request = json_decode($payload, true);
        $params = $bytes ?? $request['params'] ?? null;

        return $this->run($version, $kind, $request, $params);
    }

    /** @param array<string, mixed> $request */
    private function run(int $version, int $kind, array $request, mixed $params): ?string
    {
        $reply = ['id' => $request['id']];
        try {
            if ($this->isGoingAway) {
                throw RemoteException::from(Code::GOING_AWAY, 'the fake host is going away', null);
            }

            $result = $this->host->run($request, $params);
            if ($result instanceof FakeReply) {
                $this->unanswered[$request['id']] = [$version, $kind, $request['method']];

                return $result === FakeReply::None ? '' : null;
            }
            $reply['result'] = $result;
        } catch (RemoteException $error) {
            $reply['error'] = ['code' => $error->getCode(), 'message' => $error->getMessage()];
            if ($error->data() !== null) {
                $reply['error']['data'] = $error->data();
            }
        }

        return $this->reply($version, $kind, $reply);
    }

    /** @param array<string, mixed> $reply */
    private function reply(int $version, int $kind, array $reply): string
    {
        $kind = $kind === Header::ASYNC_REQUEST ? Header::ASYNC_RESPONSE : Header::SYNC;
        $hasBlock = $version === self::VERSION_1_2 && ($this->granted & Hello::BLOCK) !== 0;
        $fields = $hasBlock && ($this->granted & Hello::TIMING) !== 0 ? "\x0E\x0C" . pack('N3', 0, 0, 1) : '';

        $result = $reply['result'] ?? null;
        if ($result instanceof Bytes && $hasBlock) {
            $envelope = json_encode(['id' => $reply['id']], JSON_THROW_ON_ERROR);
            $fields .= "\x85\x01\x03";
            $body = pack('N', strlen($envelope)) . $envelope . $result->bytes;
        } else {
            if ($result instanceof Bytes) {
                $message = 'the method returned bytes, which the client did not ask for';
                $reply = ['id' => $reply['id'], 'error' => ['code' => Code::UNSUPPORTED_EXTENSION, 'message' => $message]];
            }
            $body = json_encode($reply, JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION);
        }

        if ($fields !== '') {
            $kind |= self::BLOCK_BIT;
            $body = pack('n', strlen($fields)) . $fields . $body;
        }

        return self::frame($version, $kind, $body);
    }

    private function cancel(string $payload): string
    {
        $id = json_decode($payload, true)['id'] ?? '';
        if (!isset($this->unanswered[$id])) {
            return '';
        }

        [$version, $kind, $method] = $this->unanswered[$id];
        unset($this->unanswered[$id]);
        $this->host->recordCancelled($method);

        return $this->reply($version, $kind, [
            'id' => $id,
            'error' => ['code' => Code::CANCELLED, 'message' => 'the client cancelled the request'],
        ]);
    }

    private function acknowledgement(string $hello): string
    {
        if (!$this->host->speaksVersion12() || strlen($hello) < 32) {
            return '';
        }

        $wish = unpack('J', $hello, self::WISH_OFFSET)[1];
        $this->granted = $wish & (Hello::BLOCK | Hello::CANCEL | Hello::TIMING | Hello::GOING_AWAY);

        return "IPC2\x01\x01"
            . pack('nJNN', self::VERSION_1_2, $this->granted, self::MAX_PAYLOAD, self::MAX_IN_FLIGHT)
            . substr($hello, self::NONCE_OFFSET, 8)
            . "\x03\x00\x01\x03";
    }

    private static function frame(int $version, int $kind, string $payload): string
    {
        return pack('nCN', $version, $kind, strlen($payload)) . $payload;
    }
}
