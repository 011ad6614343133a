<?php
// A client that sends plain text without a newline, as tutorials about PHP and sockets show it.

// 开启隐式刷新,确保缓冲区内容立即发送到浏览器
ob_implicit_flush();

$socket_file = "/tmp/odc_ws.sock";

// 创建Unix域套接字
if (($socket = socket_create(AF_UNIX, SOCK_STREAM, 0)) === false) {
    echo "socket_create() failed: reason: " . socket_strerror(socket_last_error()) . "<br>";
    exit();
}

// 连接到Go服务器
if (socket_connect($socket, $socket_file) === false) {
    echo "socket_connect() failed: reason: " . socket_strerror(socket_last_error($socket)) . "<br>";
    exit();
}

$msg = 'PHP sent Go a message at ' . date('H:i:s');
$msg_len = strlen($msg);

// 写入数据到套接字
$write_res = socket_write($socket, $msg, $msg_len);
if ($write_res === false || $write_res != $msg_len) {
    echo '<div>Socket write error: ' . socket_strerror(socket_last_error($socket)) . '</div>';
    socket_close($socket);
    exit();
}
echo "<div>PHP sent: $msg</div>";

// 从套接字读取数据,直到Go服务器关闭连接
while ($read_data = socket_read($socket, 512, PHP_NORMAL_READ)) {
    echo "<div>Server says: $read_data</div>";
    break;
}

// 关闭套接字连接
socket_close($socket);
echo "<div>Connection closed.</div>";
?>
