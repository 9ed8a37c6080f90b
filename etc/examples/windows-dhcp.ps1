# DHCP server of Windows Server: both relays for the clients of one scope. They ask the first, and
# the second when that does not answer. See docs/PAIR.md. Not tried by us.

$scope  = "192.0.2.0"
$relays = "192.0.2.11", "192.0.2.12"

# -Force: the server may not be able to ask the relays itself when it checks them
Set-DhcpServerv4OptionValue -ScopeId $scope -DnsServer $relays -DnsDomain "corp.example" -Force

# what clients of the scope are given now
Get-DhcpServerv4OptionValue -ScopeId $scope
