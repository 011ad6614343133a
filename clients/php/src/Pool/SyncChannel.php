<?php

declare(strict_types=1);

namespace Jackfield\Pool;

use Jackfield\Call\BytesCall;
use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\ProtocolException;
use Jackfield\Exception\RemoteException;
use Jackfield\Exception\TimeoutException;
use Jackfield\Options;
use Jackfield\Transport\StreamTransport;
use Jackfield\Transport\Transport;
use Jackfield\Wire\Envelope;
use Jackfield\Wire\FrameReader;
use Jackfield\Wire\Header;
use Jackfield\Wire\Hello;
use Jackfield\Wire\RequestFrame;

use function hrtime, strlen;

/**
 * Sends one request at a time over a transport and waits for its reply.
 *
 * Every method that throws leaves the position in the byte stream unknown: the caller has to close
 * the connection.
 *
 * @internal
 */
abstract class SyncChannel
{
    /** Holds the received bytes. */
    public readonly FrameReader $reader;

    /**
     * Whether no further call starts on this connection: the host announced its shutdown, or did
     * not send a byte between the start of a call and its deadline.
     */
    public bool $acceptsNoCalls = false;

    public readonly Negotiation $negotiation;
    private readonly ?BusyPoller $poller;

    public function __construct(
        protected readonly Transport $transport,
        protected readonly Options $options,
        ?Hello $hello,
    ) {
        $isReused = $transport->hasHistory();
        $this->reader = new FrameReader($options->maxFrameBytes);
        $this->negotiation = new Negotiation($hello, $isReused);
        $this->poller = $options->spin > 0.0 ? new BusyPoller((int) ($options->spin * 1e9)) : null;
    }

    /**
     * Sends a sync request and returns its reply. No other request may be in flight here.
     *
     * @param string         $envelope envelope of the request without its closing brace
     * @param BytesCall|null $bytes    how bytes are passed, which the host must have granted
     * @param string         $id       id in the request
     * @param string         $method   method of the request, for error messages
     * @param int            $started  when the call began, as hrtime(true)
     * @param int            $deadline an instant of hrtime(true), in nanoseconds
     *
     * @return array{result?: mixed, error?: mixed}
     *
     * @throws JackfieldException if no reply was received
     */
    public function exchange(
        string $envelope,
        ?BytesCall $bytes,
        string $id,
        string $method,
        int $started,
        int $deadline,
    ): array {
        $remaining = $deadline - hrtime(true);
        $frame = $bytes === null || $bytes->bytes === null
            ? RequestFrame::of($this->negotiation->syncPrefix, $envelope, $remaining)
            : RequestFrame::withBytes(Header::SYNC_BLOCK_PREFIX, $envelope, $bytes->bytes, $remaining);
        $length = strlen($frame) - Header::LENGTH;
        if ($this->negotiation->isDue) {
            $frame = $this->negotiation->begin() . $frame;
        }
        $this->write($frame, $started, $deadline, $method);

        while (true) {
            while ($this->reader->next()) {
                if ($this->reader->kind === Header::SYNC) {
                    $reply = $this->reader->refusedBytes === 0 && !$this->reader->isBytes
                        ? Envelope::reply($this->reader->payload, $this->options->associative, $id)
                        : $this->unusualReply();

                    // An error without an id answers a request whose id the host could not read.
                    // Replies to sync requests arrive in order, so it answers this request.
                    if (($reply['id'] ?? null) !== $id && (isset($reply['id']) || !isset($reply['error']))) {
                        $this->negotiation->rejectEarlierReply();
                        throw new ProtocolException("$method: the peer sent a reply with the id of another request");
                    }
                    // The answer to the hello precedes the first reply. If it has not arrived, it
                    // may arrive when nobody waits for it.
                    if ($this->negotiation->isAwaiting || isset($reply['error']) && Envelope::isGoingAway($reply)) {
                        $this->acceptsNoCalls = true;
                    }

                    return $reply;
                }

                $this->handleOtherFrame($length);
            }

            $this->receiveMore($started, $deadline, $method);
        }
    }

    /**
     * Sends a heartbeat and waits for the answer.
     *
     * @param int $started  when the call began, as hrtime(true)
     * @param int $deadline an instant of hrtime(true), in nanoseconds
     *
     * @throws JackfieldException if no answer was received
     */
    public function heartbeat(int $started, int $deadline): void
    {
        $frame = $this->negotiation->isDue ? $this->negotiation->begin() : Header::HEARTBEAT_FRAME;
        $this->write($frame, $started, $deadline, 'heartbeat');

        while (true) {
            while ($this->reader->next()) {
                if ($this->reader->kind === Header::HEARTBEAT) {
                    $this->negotiation->handleHeartbeat($this->reader);

                    return;
                }
                $this->handleOtherFrame(0);
            }

            $this->receiveMore($started, $deadline, 'heartbeat');
        }
    }

    /**
     * Returns whether params and results may be bytes, after the hello was answered.
     *
     * @param int $started  when the call began, as hrtime(true)
     * @param int $deadline an instant of hrtime(true), in nanoseconds
     *
     * @throws JackfieldException if the hello was not answered; the request was not sent
     */
    public function acceptsBytes(int $started, int $deadline): bool
    {
        if ($this->negotiation->isDue) {
            try {
                $this->heartbeat($started, $deadline);
            } catch (ConnectionLostException $lost) {
                $message = $lost->getMessage();
                throw new ConnectionLostException($message, false);
            }
        }

        return $this->negotiation->grantsBytes();
    }

    /** @return array{id?: mixed, result?: mixed, error?: mixed} */
    private function unusualReply(): array
    {
        $reader = $this->reader;

        return $reader->refusedBytes === 0
            ? Envelope::bytesReply($reader->payload)
            : Envelope::tooLarge($reader->payload, $reader->refusedBytes, $this->options->maxFrameBytes);
    }

    /**
     * Handles a frame that is not the expected reply.
     *
     * An error notification may end the exchange, an async request is a violation of the protocol,
     * and any other frame is ignored.
     *
     * @param int $length payload length of the request in flight, in bytes
     *
     * @throws JackfieldException if the frame ends the exchange
     */
    private function handleOtherFrame(int $length): void
    {
        if ($this->reader->kind === Header::HEARTBEAT) {
            $this->negotiation->handleHeartbeat($this->reader);
        } elseif ($this->reader->kind === Header::ASYNC_RESPONSE) {
            $this->negotiation->rejectEarlierReply();
        } elseif ($this->reader->kind === Header::GOING_AWAY) {
            $this->handleGoingAway();
        } elseif ($this->reader->kind === Header::ERROR) {
            $notification = ErrorNotification::parse($this->reader->payload);
            if ($notification->isGoingAway()) {
                $this->acceptsNoCalls = true;
            } elseif ($notification->concerns($length)) {
                throw $notification->error;
            }
        } elseif ($this->reader->kind === Header::ASYNC_REQUEST) {
            throw new ProtocolException('the peer sent an async request, which only clients send');
        }
    }

    /**
     * Handles the notice that the host shuts down: the replies that are due still arrive.
     */
    public function handleGoingAway(): void
    {
        // Without the grant, the kind is unknown, and frames of unknown kinds are ignored.
        if ($this->negotiation->grants(Hello::GOING_AWAY)) {
            $this->acceptsNoCalls = true;
        }
    }

    /**
     * Returns whether the peer closed the connection before it read everything that was sent.
     */
    protected function wasReset(): bool
    {
        return $this->transport instanceof StreamTransport && $this->transport->wasReset;
    }

    /**
     * Writes a complete frame, and reads what arrives meanwhile.
     *
     * @param int    $deadline an instant of hrtime(true), in nanoseconds
     * @param string $subject  the method, or `heartbeat`; for error messages
     *
     * @throws JackfieldException if the frame was not written completely
     */
    private function write(string $frame, int $started, int $deadline, string $subject): void
    {
        $length = strlen($frame);
        $offset = 0;

        while (true) {
            $written = $this->transport->write($frame, $offset);
            if ($written === null) {
                $this->throwPendingError();
                throw new ConnectionLostException(
                    "$subject: the connection was closed before the frame was sent",
                    false
                );
            }

            $offset += $written;
            if ($offset === $length) {
                return;
            }

            if (!$this->transport->wait(true, $deadline)) {
                // The connection is closed with an incomplete request, which the host never starts.
                throw TimeoutException::of(
                    "$subject: the deadline passed while the frame was being written",
                    $started,
                    $deadline,
                    TimeoutException::WRITE,
                    false
                );
            }

            // Read while writing: a peer that waits until its own bytes are read would never read
            // this request.
            $bytes = $this->transport->read();
            if ($bytes !== null && $bytes !== '') {
                $this->reader->push($bytes);
            }
        }
    }

    /**
     * Waits for bytes and passes them to the reader.
     *
     * @param string $subject the method, or `heartbeat`; for error messages
     */
    private function receiveMore(int $started, int $deadline, string $subject): void
    {
        if ($this->poller?->poll($this->transport, $deadline) !== true && !$this->transport->wait(false, $deadline)) {
            throw $this->reader->isEmpty()
                ? TimeoutException::of(
                    "$subject: the deadline passed before the reply arrived",
                    $started,
                    $deadline,
                    TimeoutException::WAIT,
                    true
                )
                : TimeoutException::of(
                    "$subject: the deadline passed when only a part of the reply had arrived",
                    $started,
                    $deadline,
                    TimeoutException::READ,
                    true
                );
        }

        $bytes = $this->transport->read();
        if ($bytes === null) {
            // The request was the last frame. A host never starts one that it did not read as a
            // whole.
            $isRead = !$this->wasReset();
            $when = $isRead ? 'the reply arrived' : 'the host read the request';
            throw new ConnectionLostException("$subject: the connection was closed before $when", $isRead);
        }
        if ($bytes !== '') {
            $this->reader->push($bytes);
        }
    }

    /**
     * Throws the error that a closed connection still holds, if there is one.
     *
     * A host that refuses a connection sends the reason before it closes. The reason is more useful
     * than "broken pipe".
     */
    private function throwPendingError(): void
    {
        while (($bytes = $this->transport->read()) !== null && $bytes !== '') {
            $this->reader->push($bytes);
        }

        while ($this->reader->next()) {
            if ($this->reader->kind === Header::ERROR) {
                $notification = ErrorNotification::parse($this->reader->payload);
                if ($notification->error instanceof RemoteException && !$notification->isGoingAway()) {
                    throw $notification->error;
                }
            }
        }
    }
}
